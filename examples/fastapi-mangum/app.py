"""A FastAPI application as a function: Mangum turns each event of its URL into a request, and the answer back."""

from fastapi import Cookie, FastAPI, Request, Response
from mangum import Mangum
from pydantic import BaseModel

app = FastAPI()
handler = Mangum(app, lifespan="off")


class Item(BaseModel):
    name: str
    price: float


@app.get("/")
def index(request: Request) -> dict[str, object]:
    return {"hello": request.query_params.get("name", "world"), "path": request.url.path}


@app.post("/items", status_code=201)
def create(item: Item, response: Response) -> Item:
    response.set_cookie("last", item.name)
    response.set_cookie("count", "1")
    return item


@app.get("/items/last")
def last(last: str | None = Cookie(None)) -> dict[str, str | None]:
    return {"last": last}


@app.put("/digest")
async def digest(request: Request) -> Response:
    """Bytes in, bytes out."""
    return Response(bytes(reversed(await request.body())), media_type="application/octet-stream")
