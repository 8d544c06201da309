"""The Node.js runtime client on the wire: against a Runtime API with nothing behind it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from lambent.testing.fake_runtime_api import Answer, FakeRuntimeApi
from lambent.testing.runtime_process import RuntimeEnded, RuntimeProcess, running_runtime

NODE = shutil.which("node")
BOOTSTRAP = Path(__file__).parents[3] / "runtimes" / "nodejs" / "bootstrap.cjs"

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node.js on this host")

Start = Callable[..., AbstractAsyncContextManager[RuntimeProcess]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts the client on a handler, the text of index.js."""

    def start(
        code: str, *, env: Mapping[str, str] | None = None, api: FakeRuntimeApi | None = None
    ) -> AbstractAsyncContextManager[RuntimeProcess]:
        (tmp_path / "index.js").write_text(code)
        environ = {"LAMBDA_TASK_ROOT": str(tmp_path), "_HANDLER": "index.handler", **(env or {})}
        return running_runtime([str(NODE), str(BOOTSTRAP)], env=environ, cwd=tmp_path, api=api)

    return start


def cause_of(answer: Answer) -> dict[str, object]:
    cause: dict[str, object] = json.loads(answer.headers["lambda-runtime-function-xray-error-cause"])
    return cause


async def test_events_and_results_of_any_size_go_through_unchanged(start: Start) -> None:
    async with start("exports.handler = async (event) => event;") as runtime:
        for size in (0, 1, 40_000, 65_536, 70_000, 6_000_000):
            event = json.dumps(["é" + "x" * size], ensure_ascii=False, separators=(",", ":")).encode()
            answer = await runtime.invoke(event)

            assert answer.body == event
            assert answer.headers["content-type"] == "application/json"


async def test_a_result_that_is_too_large_is_refused_and_the_next_invoke_goes_on(start: Start) -> None:
    async with start("exports.handler = async (size) => 'x'.repeat(size);") as runtime:
        too_large = await runtime.invoke(b"60000000")
        small = await runtime.invoke(b"2")

    assert (too_large.status, small.status) == (413, 202)
    assert len(too_large.body) < 6 * 2**20 + 200, "the rest of it need not be sent"
    assert small.json() == "xx"


async def test_the_id_of_an_attempt_goes_back_with_its_answer(start: Start) -> None:
    code = "exports.handler = async (event) => { if (event === 'fail') throw new Error('no'); };"
    headers = {"Lambda-Runtime-Invocation-Id": "attempt-7"}
    async with start(code) as runtime:
        fine = await runtime.invoke(b"{}", headers=headers)
        failed = await runtime.invoke(b'"fail"', headers=headers)

    assert fine.headers["lambda-runtime-invocation-id"] == "attempt-7"
    assert failed.headers["lambda-runtime-invocation-id"] == "attempt-7"
    assert failed.kind == "error"


async def test_an_error_names_its_type_and_where_it_was_thrown(start: Start, tmp_path: Path) -> None:
    code = "function lower() { throw new RangeError('zu groß ✗'); }\nexports.handler = async () => lower();"
    async with start(code) as runtime:
        answer = await runtime.invoke()

    document = answer.json()
    assert isinstance(document, dict)
    assert list(document) == ["errorType", "errorMessage", "trace"]
    assert answer.headers["lambda-runtime-function-error-type"] == "RangeError"
    (exception,) = cause_of(answer)["exceptions"]  # type: ignore[misc]
    assert exception["message"] == "zu groß ✗"
    assert exception["stack"][0] == {"path": str(tmp_path / "index.js"), "line": 1, "label": "lower"}
    assert cause_of(answer)["paths"][0] == str(tmp_path / "index.js")  # type: ignore[index]


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
async def test_what_is_thrown_may_be_anything(start: Start, log_format: str) -> None:
    code = """
    const kinds = [
      null, undefined, 7, { own: 1 }, Object.create(null), new (class extends Error { get message() { throw 1; } })(),
      Object.assign(new Error('named'), { name: 'a\\r\\nb: c' }),
    ];
    exports.handler = async (index) => { throw kinds[index]; };
    """
    async with start(code, env={"AWS_LAMBDA_LOG_FORMAT": log_format}) as runtime:
        types = [(await runtime.invoke(str(index).encode())).json()["errorType"] for index in range(7)]  # type: ignore[index]

    assert types == ["object", "undefined", "number", "object", "handled", "handled", "a\r\nb: c"]


async def test_the_trace_id_is_that_of_the_invocation(start: Start) -> None:
    code = "exports.handler = async () => process.env._X_AMZN_TRACE_ID ?? null;"
    async with start(code) as runtime:
        traced = await runtime.invoke(headers={"Lambda-Runtime-Trace-Id": "Root=1-2-3"})
        untraced = await runtime.invoke(headers={"Lambda-Runtime-Trace-Id": ""})

    assert (traced.json(), untraced.json()) == ("Root=1-2-3", None)


async def test_a_stream_goes_out_as_it_is_written(start: Start) -> None:
    code = """
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      if (event) stream.setContentType('text/plain');
      stream.write('text, ');
      stream.write(Buffer.from('bytes, '));
      stream.end({ and: 'JSON' });
    });
    """
    async with start(code) as runtime:
        plain, typed = await runtime.invoke(b"null"), await runtime.invoke(b"true")

    assert plain.body == typed.body == b'text, bytes, {"and":"JSON"}'
    assert plain.headers["lambda-runtime-function-response-mode"] == "streaming"
    assert plain.headers["content-type"] == "application/octet-stream"
    assert typed.headers["content-type"] == "text/plain"


async def test_status_and_headers_go_ahead_of_a_stream_even_of_an_empty_one(start: Start) -> None:
    code = """
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      stream = awslambda.HttpResponseStream.from(stream, { statusCode: 204 });
      if (event) stream.write(event);
      stream.end();
    });
    """
    async with start(code) as runtime:
        empty, full = await runtime.invoke(b'""'), await runtime.invoke(b'"body"')

    prelude = b'{"statusCode":204}' + bytes(8)
    assert (empty.body, full.body) == (prelude, prelude + b"body")
    assert empty.headers["content-type"] == "application/vnd.awslambda.http-integration-response"


async def test_an_error_after_the_first_piece_comes_as_trailers(start: Start) -> None:
    code = """
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      stream.write('begun');
      if (event === 'late') stream.setContentType('text/plain');
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (event === 'uncaught') setTimeout(() => { throw new TypeError('out of the blue'); });
      if (event === 'uncaught') await new Promise(() => setTimeout(() => {}, 10_000));
      throw new RangeError('half way');
    });
    """
    async with start(code) as runtime:
        thrown, late = await runtime.invoke(b"null"), await runtime.invoke(b'"late"')
        uncaught = await runtime.invoke(b'"uncaught"')
        end = await runtime.exit()

    types = [one.trailers["lambda-runtime-function-error-type"] for one in (thrown, late, uncaught)]
    assert types == ["RangeError", "Runtime.InvalidStreamingOperation", "TypeError"]
    assert thrown.body == b"begun"
    assert end.code == 129


async def test_the_process_ends_with_its_platform(start: Start) -> None:
    async with start("exports.handler = async () => {}; setInterval(() => {}, 1000);") as runtime:
        await runtime.invoke()
        end = await runtime.stop()

    assert end.code == 1


async def test_a_module_that_waits_for_ever_ends_the_process(start: Start, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    async with start("await new Promise(() => {});\nexport const handler = async () => {};") as runtime:
        with pytest.raises(RuntimeEnded, match="exit code 13"):
            await runtime.invoke()


@pytest.mark.parametrize(
    ("declared", "handler", "answer"),
    [
        ("AWS_Lambda_nodejs24.x", "(event) => 'returned'", "returned"),
        ("AWS_Lambda_nodejs22.x", "(event) => 'returned'", None),
        ("AWS_Lambda_nodejs24.x", "async (event, context) => typeof context.succeed", "undefined"),
        ("AWS_Lambda_nodejs22.x", "async (event, context) => typeof context.succeed", "function"),
        ("AWS_Lambda_nodejs22.x", "(event, context, callback) => callback(null, 'called')", "called"),
    ],
)
async def test_callbacks_are_for_runtimes_before_nodejs24(
    start: Start, declared: str, handler: str, answer: str | None
) -> None:
    async with start(f"exports.handler = {handler};", env={"AWS_EXECUTION_ENV": declared}) as runtime:
        assert (await runtime.invoke()).json() == answer


async def test_a_callback_is_refused_by_nodejs24(start: Start) -> None:
    code = "exports.handler = (event, context, callback) => callback(null, 'called');"
    async with start(code, env={"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x"}) as runtime:
        error = await runtime.init_error()
        end = await runtime.exit()

    assert error.json()["errorType"] == "Runtime.CallbackHandlerDeprecated"  # type: ignore[index]
    assert end.code == 129
