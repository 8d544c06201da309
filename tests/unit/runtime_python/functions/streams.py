"""Handlers that stream, one for each way to say so; the event says what to do."""

import functools
import io
import shutil


def pieces(event, context):
    yield from event["pieces"]
    if "raise" in event:
        raise ValueError(event["raise"])


def kinds(event, context):
    yield b"bytes "
    yield bytearray(b"bytearray ")
    yield memoryview(b"memoryview ")
    yield ""
    yield "t\u00ebxt"


def not_a_piece(event, context):
    yield b"one"
    yield 2


async def pieces_async(event, context):
    for piece in event["pieces"]:
        yield piece


def returns_a_generator(event, context):
    return pieces(event, context)


def writes(event, context, response_stream):
    response_stream.content_type = "text/plain"
    with response_stream as file:
        shutil.copyfileobj(io.BytesIO(b"copied "), file)
        print("printed", file=file, flush=True)
    return "ignored"


async def writes_async(event, context, *, response_stream):
    response_stream.start_http(201, {"x-a": "b"}, ["c=d"])
    response_stream.write("body")


def writes_late(event, context, response_stream):
    response_stream.write("body")
    response_stream.content_type = "text/plain"


def writes_to_closed(event, context, response_stream):
    response_stream.close()
    response_stream.write("body")


def decorated(handler):
    @functools.wraps(handler)
    def wrapper(event, context, **keywords):
        return handler(event, context, **keywords)

    return wrapper


@decorated
def writes_decorated(event, context, response_stream):
    response_stream.write(event["pieces"][0])


class Writes:
    def __call__(self, event, context, response_stream):
        response_stream.write("from an object")


writes_object = Writes()
