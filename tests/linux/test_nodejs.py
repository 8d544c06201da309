"""Node.js functions from the zip to the answer: every kind of handler, errors by AWS's names, logs in both formats."""

from __future__ import annotations

import base64
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from function_url import public_url
from lambent.testing.service import deploy, make_zip
from lambent.worker.runtimes import discover

NODE = next((one for one in discover() if one.language == "nodejs"), None)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.skipif(NODE is None, reason="no Node.js on this host"),
]

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Node = Callable[..., str]

_numbers = itertools.count()


@pytest.fixture
def node(client: Any) -> Iterator[Node]:
    """Deploys Node.js functions under names of their own, from the text of index.js or from files."""
    names: list[str] = []

    def make(code: str | Mapping[str, str], handler: str = "index.handler", **parameters: Any) -> str:
        assert NODE is not None
        names.append(f"node-{next(_numbers)}")
        files = {"index.js": code} if isinstance(code, str) else code
        settings = {"Runtime": NODE.runtime, "Handler": handler, "Timeout": 10, **parameters}
        return deploy(client, names[-1], make_zip(files), **settings)

    yield make
    for name in names:
        client.delete_function(FunctionName=name)


def tail_of(response: dict[str, Any]) -> list[str]:
    return base64.b64decode(response["LogResult"]).decode().splitlines()


def said_by_function(response: dict[str, Any]) -> list[str]:
    platform = ("INIT_START", "INIT_REPORT", "START", "END", "REPORT")
    return [line for line in tail_of(response) if line and not line.startswith(platform)]


# Modules and handlers -------------------------------------------------------------------------------------------------

RETURNS = "handler = async (event) => ({ hello: event.name });"


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"index.js": f"exports.{RETURNS}"}, "index.handler"),
        ({"index.cjs": f"exports.{RETURNS}"}, "index.handler"),
        ({"index.mjs": f"export const {RETURNS}"}, "index.handler"),
        ({"index.js": f"export const {RETURNS}", "package.json": '{"type": "module"}'}, "index.handler"),
        ({"src/app.js": f"export const {RETURNS}", "package.json": '{"type": "module"}'}, "src/app.handler"),
        (
            {"src/app.js": "exports.api = { get: { " + RETURNS.replace("handler =", "now:")[:-1] + " } };"},
            "src/app.api.get.now",
        ),
        ({"lib/index.js": f"exports.{RETURNS}"}, "lib.handler"),
        ({"node_modules/packed/index.js": f"exports.{RETURNS}"}, "packed.handler"),
        ({"index.mjs": f"const name = await Promise.resolve('handler');\nexport const {RETURNS}"}, "index.handler"),
    ],
)
def test_a_handler_is_found_in_modules_of_both_kinds(
    node: Node, invoke: Invoke, files: Mapping[str, str], handler: str
) -> None:
    assert invoke(node(files, handler), {"name": "Ada"})[0] == {"hello": "Ada"}


CALLS = """
const later = (value) => new Promise((resolve) => setTimeout(resolve, 1, value));
const kinds = {
  promise: () => later('promised'),
  returned: () => 'never seen',
  nothing: async () => {},
  callback: (event, context, callback) => { setTimeout(callback, 5, null, 'called'); },
  callbackFails: (event, context, callback) => { callback(new RangeError('too far')); },
  succeed: (event, context) => context.succeed('succeeded'),
  fail: (event, context) => context.fail('failed'),
  done: (event, context) => context.done(null, 'done'),
  waits: (event, context, callback) => { setTimeout(() => { global.late = true; }, 30); callback(null, 'waited'); },
  doesNotWait: (event, context, callback) => {
    context.callbackWaitsForEmptyEventLoop = false;
    const wasLate = Boolean(global.late);
    global.late = false;
    setTimeout(() => {}, 60_000);
    callback(null, wasLate);
  },
  string: async () => { throw 'only a string'; },
  cycle: async () => { const own = {}; own.own = own; return own; },
};
exports.handler = (event, context, callback) => kinds[event](event, context, callback);
"""


def test_results_come_by_promise_callback_or_context(node: Node, invoke: Invoke) -> None:
    name = node(CALLS, MemorySize=256)

    def call(kind: str) -> Any:
        return invoke(name, kind)[0]

    assert call("promise") == "promised"
    assert call("returned") is None
    assert call("nothing") is None
    assert call("callback") == "called"
    assert (call("succeed"), call("done")) == ("succeeded", "done")
    assert call("waits") == "waited"
    assert call("doesNotWait") is True
    assert call("callbackFails")["errorType"] == "RangeError"
    assert call("fail") == {"errorType": "string", "errorMessage": "failed", "trace": []}
    assert call("string") == {"errorType": "string", "errorMessage": "only a string", "trace": []}
    assert call("cycle")["errorMessage"] == "Unable to stringify response body"


def test_runtimes_from_nodejs24_on_refuse_callbacks_and_take_what_is_returned(client: Any, invoke: Invoke) -> None:
    if NODE is None or NODE.runtime != "nodejs24.x":
        pytest.skip("no Node.js 24 on this host")
    deploy(client, "node-24", make_zip({"index.js": CALLS}), Runtime=NODE.runtime, Handler="index.handler")
    try:
        assert invoke("node-24", "promise")[0]["errorType"] == "Runtime.CallbackHandlerDeprecated"
    finally:
        client.delete_function(FunctionName="node-24")


def test_the_context_tells_of_environment_and_invocation(client: Any, node: Node) -> None:
    name = node(
        "exports.handler = async (event, context) => ({ ...context, left: context.getRemainingTimeInMillis(),"
        " waits: context.callbackWaitsForEmptyEventLoop, trace: process.env._X_AMZN_TRACE_ID });",
        MemorySize=192,
    )
    client_context = base64.b64encode(json.dumps({"custom": {"name": "Zoë"}}).encode()).decode()
    response = client.invoke(FunctionName=name, Payload=b"{}", ClientContext=client_context)

    context = json.loads(response["Payload"].read())

    assert context["awsRequestId"] == response["ResponseMetadata"]["RequestId"]
    assert context["functionName"] == name
    assert context["functionVersion"] == "$LATEST"
    assert context["memoryLimitInMB"] == "192"
    assert context["invokedFunctionArn"].endswith(f":function:{name}")
    assert context["logGroupName"] == f"/aws/lambda/{name}"
    assert "[$LATEST]" in context["logStreamName"]
    assert context["clientContext"] == {"custom": {"name": "Zoë"}}
    assert 9_000 < context["left"] <= 10_000
    assert context["waits"] is True
    assert context["trace"].startswith("Root=1-")


def test_packages_of_the_function_and_of_layers_are_found_in_awss_order(
    client: Any, node: Node, invoke: Invoke
) -> None:
    assert NODE is not None
    major = NODE.runtime.removesuffix(".x").removeprefix("nodejs")

    def package(place: str, *names: str) -> dict[str, str]:
        return {f"{place}/{name}/index.js": f"exports.from = '{place}';" for name in names}

    layer_files = package(f"nodejs/node{major}/node_modules", "a") | package("nodejs/node_modules", "a", "b", "c")
    layer = client.publish_layer_version(LayerName="node-packages", Content={"ZipFile": make_zip(layer_files)})
    require = "exports.handler = async () => ['a', 'b', 'c'].map((name) => require(name).from);"
    imports = "import b from 'b';\nimport c from 'c';\nexport const handler = async () => [b.from, c.from];"
    own = package("node_modules", "c")
    arn = layer["LayerVersionArn"]

    assert invoke(node({"index.js": require, **own}, Layers=[arn]))[0] == [
        f"nodejs/node{major}/node_modules",
        "nodejs/node_modules",
        "node_modules",
    ]
    assert invoke(node({"index.mjs": imports, **own}, Layers=[arn]))[0] == ["nodejs/node_modules", "node_modules"]
    client.delete_layer_version(LayerName="node-packages", VersionNumber=layer["Version"])


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "message"),
    [
        (
            "exports.other = 1;",
            "index.handler",
            "Runtime.HandlerNotFound",
            "index.handler is undefined or not exported",
        ),
        ("exports.handler = 1;", "index.handler", "Runtime.HandlerNotFound", "index.handler is not a function"),
        ("exports.handler = (", "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input"),
        ("require('absent');", "index.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'absent'"),
        ("", "absent.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'absent'"),
        ("", "../index.handler", "Runtime.MalformedHandlerName", "'../index.handler' must not contain '..'."),
        ("", "handler", "Runtime.MalformedHandlerName", "Bad handler"),
        ("throw new RangeError('at load');", "index.handler", "RangeError", "at load"),
    ],
)
def test_what_cannot_be_loaded_has_awss_name(
    node: Node, invoke: Invoke, code: str, handler: str, error_type: str, message: str
) -> None:
    error, response = invoke(node(code, handler), LogType="Tail")

    assert response["FunctionError"] == "Unhandled"
    assert error["errorType"] == error_type
    assert error["errorMessage"].startswith(message)
    assert error["trace"][0].startswith(f"{error_type}: {message}")
    assert any(
        f'\tundefined\tERROR\tUncaught Exception \t{{"errorType":"{error_type}"' in line for line in tail_of(response)
    )


def test_the_place_of_a_syntax_error_is_told(node: Node, invoke: Invoke) -> None:
    error, _ = invoke(node("exports.handler = async () => {\n  const 1 = 2;\n};\n"))

    assert error["trace"][1:3] == ["/var/task/index.js:2", "  const 1 = 2;"]


FAILS = """
class OrderError extends Error { constructor(message) { super(message); this.name = 'OrderError'; this.order = 7; } }
const pause = () => new Promise((resolve) => setTimeout(resolve, 30_000));
const kinds = {
  thrown: async () => { throw new OrderError('n\\u00f6\\nway'); },
  rejected: async () => { Promise.reject(new Error('nobody caught it')); await pause(); },
  uncaught: async () => { setTimeout(() => { throw new Error('out of the blue'); }, 1); await pause(); },
  unsettled: async () => { await new Promise(() => {}); },
  exits: async () => { process.exit(3); },
  exitsWell: async () => { process.exit(0); },
  fine: async () => process.pid,
};
exports.handler = async (event) => kinds[event]();
"""


def test_what_a_handler_throws_is_the_answer_and_a_line_in_the_log(node: Node, invoke: Invoke) -> None:
    name = node(FAILS)
    pid = invoke(name, "fine")[0]

    error, response = invoke(name, "thrown", LogType="Tail")

    assert response["FunctionError"] == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("OrderError", "nö\nway")
    assert error["trace"][:2] == ["OrderError: nö", "way"]
    assert not any("/var/runtime" in line for line in error["trace"])
    (line,) = said_by_function(response)
    stamp, request_id, level, message, text = line.split("\t")
    assert (request_id, level, message) == (response["ResponseMetadata"]["RequestId"], "ERROR", "Invoke Error ")
    told = json.loads(text)
    assert (told["errorType"], told["order"], told["stack"][0]) == ("OrderError", 7, "OrderError: nö")
    assert stamp.endswith("Z")
    assert invoke(name, "fine")[0] == pid, "an error is no crash"


@pytest.mark.parametrize(
    ("kind", "error_type", "message"),
    [
        ("rejected", "Runtime.UnhandledPromiseRejection", "Error: nobody caught it"),
        ("uncaught", "Error", "out of the blue"),
        ("unsettled", "Runtime.NodeJsExit", "Nothing was left to run while"),
        ("exits", "Runtime.ExitError", "RequestId: {id} Error: Runtime exited with error: exit status 3"),
        ("exitsWell", "Runtime.ExitError", "RequestId: {id} Error: Runtime exited without providing a reason"),
    ],
)
def test_what_nobody_catches_is_the_answer_and_the_next_invoke_finds_a_new_process(
    node: Node, invoke: Invoke, kind: str, error_type: str, message: str
) -> None:
    name = node(FAILS)

    error, response = invoke(name, kind)

    assert response["FunctionError"] == "Unhandled"
    assert error["errorType"] == error_type
    assert error["errorMessage"].startswith(message.format(id=response["ResponseMetadata"]["RequestId"]))
    assert isinstance(invoke(name, "fine")[0], int)


def test_a_handler_that_takes_too_long_times_out(node: Node, invoke: Invoke) -> None:
    name = node("exports.handler = async (event) => { while (event) {} return 'again'; };", Timeout=1)

    assert invoke(name, True)[0]["errorType"] == "Sandbox.Timedout"
    assert invoke(name, False)[0] == "again"


def test_a_heap_is_bounded_by_the_functions_memory(node: Node, invoke: Invoke) -> None:
    code = "exports.handler = async () => [require('v8').getHeapStatistics().heap_size_limit / 2**20, typeof gc];"
    small = invoke(node(code, MemorySize=256))[0]
    own = invoke(node(code, MemorySize=256, Environment={"Variables": {"NODE_OPTIONS": "--max-old-space-size=99"}}))[0]

    assert 200 < small[0] < 300
    assert small[1] == "function"
    assert 90 < own[0] < 160


# Logs -----------------------------------------------------------------------------------------------------------------

LOGS = """
exports.handler = async (event) => {
  console.log('a %s of', 'string', { a: 1 });
  console.debug('two\\nlines');
  console.warn('careful');
  console.error('broken', new TypeError('why'));
  console.log({ order: 7 });
  console.trace('deep');
  process.stdout.write('as it is\\n');
};
console.log('at load');
"""


def test_a_line_of_text_has_time_request_and_level(node: Node, invoke: Invoke) -> None:
    response = invoke(node(LOGS), LogType="Tail")[1]

    request_id = response["ResponseMetadata"]["RequestId"]
    lines = said_by_function(response)
    assert lines.pop() == "as it is"
    parts = [line.split("\t")[1:] for line in lines]
    assert parts[:4] == [
        ["undefined", "INFO", "at load"],
        [request_id, "INFO", "a string of { a: 1 }"],
        [request_id, "DEBUG", "two"],  # with a carriage return inside, which here is an end of a line
        [],
    ]
    assert [part[1] for part in parts if len(part) == 3] == ["INFO", "INFO", "DEBUG", "WARN", "ERROR", "INFO", "TRACE"]


def test_a_json_record_has_level_and_message_and_levels_choose(node: Node, invoke: Invoke) -> None:
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}
    response = invoke(node(LOGS, LoggingConfig=config), LogType="Tail")[1]

    records = [json.loads(line) for line in tail_of(response) if line.startswith('{"timestamp"')]
    assert [record["level"] for record in records] == ["INFO", "INFO", "WARN", "ERROR", "INFO"]
    loaded, first, _, broken, order = records
    assert "requestId" not in loaded
    assert first["requestId"] == response["ResponseMetadata"]["RequestId"]
    assert first["message"] == "a string of { a: 1 }"
    assert (broken["errorType"], broken["errorMessage"]) == ("TypeError", "why")
    assert broken["stackTrace"][0] == "TypeError: why"
    assert order["message"] == {"order": 7}


def test_a_failure_in_json_is_one_record(node: Node, invoke: Invoke) -> None:
    response = invoke(node(FAILS, LoggingConfig={"LogFormat": "JSON"}), "thrown", LogType="Tail")[1]

    (record,) = [json.loads(line) for line in tail_of(response) if line.startswith('{"timestamp"')]
    assert record["level"] == "ERROR"
    assert record["message"]["errorType"] == "OrderError"
    assert record["message"]["stackTrace"][0] == "OrderError: nö"


# Streams --------------------------------------------------------------------------------------------------------------

STREAMS = """
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.rawPath) {
    const prelude = { statusCode: 201, headers: { 'content-type': 'text/plain', 'x-own': 'yes' }, cookies: ['a=1'] };
    stream = awslambda.HttpResponseStream.from(stream, prelude);
  }
  if (event === 'early') throw new RangeError('before the first byte');
  stream.write('one ');
  if (event === 'late') { await new Promise((resolve) => setTimeout(resolve, 5)); throw new RangeError('too late'); }
  if (event === 'large') await pipeline(Readable.from(Array(8).fill(Buffer.alloc(2 ** 20, 120))), stream);
  else { stream.write('two '); stream.end(event === 'open' ? undefined : 'three'); }
});
"""


def streamed(client: Any, name: str, event: Any) -> tuple[bytes, dict[str, Any]]:
    response = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event))
    body, complete = b"", {}
    for one in response["EventStream"]:
        body += one.get("PayloadChunk", {}).get("Payload", b"")
        complete = one.get("InvokeComplete", complete)
    return body, complete


def test_a_stream_arrives_whole_buffered_or_in_pieces(client: Any, node: Node) -> None:
    name = node(STREAMS, MemorySize=512)

    assert client.invoke(FunctionName=name, Payload=b"{}")["Payload"].read() == b"one two three"
    assert streamed(client, name, {})[0] == b"one two three"
    assert streamed(client, name, "open")[0] == b"one two "
    assert len(streamed(client, name, "large")[0]) == 8 * 2**20 + 4


def test_a_stream_that_fails_says_so_before_and_after_its_first_byte(client: Any, node: Node) -> None:
    name = node(STREAMS)

    early, late = streamed(client, name, "early"), streamed(client, name, "late")

    assert early[1]["ErrorCode"] == "Unhandled"
    assert json.loads(early[1]["ErrorDetails"])["errorType"] == "RangeError"
    assert late[0] == b"one "
    assert late[1]["ErrorCode"] == "Unhandled"
    assert json.loads(late[1]["ErrorDetails"])["errorMessage"] == "too late"
    assert streamed(client, name, {})[0] == b"one two three"


def test_a_function_url_answers_with_status_headers_and_cookies_of_the_stream(client: Any, node: Node) -> None:
    name = node(STREAMS)
    with public_url(client, name, InvokeMode="RESPONSE_STREAM") as ask:
        answer: Any = ask("GET", "/")

    assert (answer.status, answer.headers["x-own"], answer.headers["set-cookie"]) == (201, "yes", "a=1")
    assert answer.body == b"one two three"


# Extensions -----------------------------------------------------------------------------------------------------------


def test_a_function_runs_beside_an_external_extension(client: Any, node: Node, invoke: Invoke) -> None:
    extension = (
        "#!/bin/sh\napi=http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension\n"
        "id=$(curl -sD- -o /dev/null -H 'Lambda-Extension-Name: watcher' -d '{\"events\":[\"INVOKE\"]}' $api/register"
        "| tr -d '\\r' | sed -n 's/^lambda-extension-identifier: //Ip')\n"
        'while curl -s -H "Lambda-Extension-Identifier: $id" $api/event/next > /dev/null; do echo seen; done\n'
    )
    files = make_zip({"extensions/watcher": extension}, executable=("extensions/watcher",))
    layer = client.publish_layer_version(LayerName="node-watcher", Content={"ZipFile": files})
    name = node("exports.handler = async (event) => event;", Layers=[layer["LayerVersionArn"]])

    assert [invoke(name, number)[0] for number in range(3)] == [0, 1, 2]
    client.delete_layer_version(LayerName="node-watcher", VersionNumber=layer["Version"])
