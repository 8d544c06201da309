"""Every verb of the command line against a server that only answers: what is asked of it, printed, and returned."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lambent.cli import run
from lambent.config import Auth, Egress, RuntimeFallback, ServeOptions
from lambent.worker.sandbox.doctor import Finding, HostReport
from lambent.worker.sandbox.plan import Level

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
ROLE = "arn:aws:iam::000000000000:role/lambda-role"


class Stub:
    """What the server holds, and what it was asked."""

    def __init__(self) -> None:
        self.functions: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.iam: list[dict[str, str]] = []
        self.has_role = True
        self.answer: tuple[bytes, dict[str, str]] = (b'{"hello": "world"}', {})
        self.warning: str | None = None
        self.events: list[list[dict[str, Any]]] = []
        self.mappings: list[dict[str, Any]] = []
        self.runtimes: list[dict[str, str]] = [
            {"runtime": name, "version": f"{name[6:]}.1", "executable": f"/usr/bin/{name}", "source": "usr"}
            for name in ("python3.9", "python3.11")
        ]

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [body for verb, _, body in self.requests if verb == method]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def log_message(self, *_: object) -> None: ...

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        target = self.headers.get("x-amz-target", "")
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            self._iam(dict(urllib.parse.parse_qsl(raw.decode())))
            return
        body = json.loads(raw) if raw else {}
        self.stub.requests.append((target or self.command, path, body))
        match path.strip("/").split("/"):
            case ["_lambent", "runtimes"]:
                self._reply(200, self.stub.runtimes)
            case ["_lambent", "events", "mappings"]:
                self._reply(200, {"mappings": self.stub.mappings})
            case [""] if target.endswith("FilterLogEvents"):
                self._reply(200, {"events": self.stub.events.pop(0) if self.stub.events else []})
            case [_, "functions"]:
                self._collection(body)
            case [_, "functions", name, *rest]:
                self._function(name, rest, body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _iam(self, form: dict[str, str]) -> None:
        self.stub.iam.append(form)
        if form["Action"] == "GetRole" and not self.stub.has_role:
            error = "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>no role</Message></Error></ErrorResponse>"
            self._reply(404, error.encode())
            return
        name = form["Action"]
        result = f"<Role><Arn>{ROLE}</Arn></Role>"
        self._reply(200, f"<{name}Response><{name}Result>{result}</{name}Result></{name}Response>".encode())

    def _collection(self, body: dict[str, Any]) -> None:
        if self.command == "GET":
            self._reply(200, {"Functions": list(self.stub.functions.values())})
            return
        code = base64.b64decode(body.pop("Code")["ZipFile"])
        body |= {"MemorySize": 128, "Timeout": 3, "LastModified": "2026-11-21T05:00:00.000+0000", **body}
        self.stub.functions[body["FunctionName"]] = body | _facts(code) | {"FunctionArn": ARN + body["FunctionName"]}
        self._reply(201, self.stub.functions[body["FunctionName"]], warned=True)

    def _function(self, name: str, rest: list[str], body: dict[str, Any]) -> None:
        function = self.stub.functions.get(name)
        if function is None:
            message = {"Type": "User", "Message": f"Function not found: {ARN}{name}"}
            self._reply(404, message, **{"x-amzn-errortype": "ResourceNotFoundException"})
            return
        match self.command, rest:
            case "DELETE", []:
                del self.stub.functions[name]
                self._reply(204, None)
            case "POST", ["invocations"]:
                payload, headers = self.stub.answer
                self._reply(200, payload, **headers)
            case "PUT", ["code"]:
                function |= _facts(base64.b64decode(body["ZipFile"]))
                self._reply(200, function)
            case "PUT", ["configuration"]:
                function |= body
                self._reply(200, function, warned=True)
            case _, ["configuration"]:
                self._reply(200, function)
            case _:
                self._reply(200, {"Configuration": function})

    def _reply(self, status: int, document: object, *, warned: bool = False, **headers: str) -> None:
        body = document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        if warned and self.stub.warning:
            headers["x-lambent-warning"] = self.stub.warning
        for name, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def _facts(code: bytes) -> dict[str, Any]:
    return {
        "CodeSha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
        "CodeSize": len(code),
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    stub = Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (Handler,), {"stub": stub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield stub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    directory = tmp_path / "hello"
    directory.mkdir()
    (directory / "app.py").write_text("def handler(event, context):\n    return event\n")
    return directory


Output = pytest.CaptureFixture[str]


def test_a_first_deploy_creates_the_function_and_prints_its_arn(stub: Stub, hello: Path, capsys: Output) -> None:
    assert run(["deploy", str(hello), "--env", "A=1", "--env", "B=x=y", "--memory", "256"]) == 0

    (request,) = stub.asked("POST")
    assert (request["FunctionName"], request["Handler"], request["Runtime"]) == ("hello", "app.handler", "python3.11")
    assert request["Environment"] == {"Variables": {"A": "1", "B": "x=y"}}
    assert request["MemorySize"] == 256
    assert capsys.readouterr().out == f"{ARN}hello\n"


def test_a_function_without_a_role_gets_one_that_is_made_where_there_is_none(stub: Stub, hello: Path) -> None:
    stub.has_role = False
    run(["deploy", str(hello)])
    run(["deploy", str(hello), "--name", "other", "--role", "arn:aws:iam::000000000000:role/own"])

    assert [request["Role"] for request in stub.asked("POST")] == [ROLE, "arn:aws:iam::000000000000:role/own"]
    assert [form["Action"] for form in stub.iam] == ["GetRole", "CreateRole", "AttachRolePolicy"]


def test_a_second_deploy_of_the_same_files_sends_nothing(stub: Stub, hello: Path, capsys: Output) -> None:
    run(["deploy", str(hello)])
    capsys.readouterr()

    assert run(["deploy", str(hello), "--json"]) == 0
    assert stub.asked("PUT") == []
    assert json.loads(capsys.readouterr().out)["Outcome"] == "unchanged"


def test_what_changed_is_updated_and_nothing_else(stub: Stub, hello: Path) -> None:
    run(["deploy", str(hello), "--memory", "256"])
    (hello / "app.py").write_text("def handler(event, context):\n    return 2\n")

    assert run(["deploy", str(hello), "--timeout", "9", "--memory", "256"]) == 0
    code, configuration = stub.asked("PUT")
    assert list(code) == ["ZipFile"]
    assert configuration == {"Timeout": 9}


def test_a_warning_of_the_server_is_shown(stub: Stub, hello: Path, capsys: Output) -> None:
    stub.warning = "python3.9 is not on this host"

    assert run(["deploy", str(hello), "--runtime", "python3.9"]) == 0
    assert "python3.9 is not on this host" in capsys.readouterr().err


def test_without_a_handler_deploy_says_what_to_give(stub: Stub, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "notes.txt").write_text("x")

    assert run(["deploy", str(tmp_path)]) == 2
    assert "--handler" in capsys.readouterr().err


def test_a_handler_that_was_given_is_not_looked_for(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")

    assert run(["deploy", str(tmp_path), "--name", "n", "--handler", "a.b", "--runtime", "nodejs22.x"]) == 0
    assert stub.functions["n"]["Handler"] == "a.b"


@pytest.mark.parametrize("pair", ["A", "=1"])
def test_a_variable_without_name_or_value_is_refused(stub: Stub, hello: Path, pair: str) -> None:
    assert run(["deploy", str(hello), "--env", pair]) == 2
    assert stub.requests == []


def test_deploying_what_is_not_there_is_refused(stub: Stub, tmp_path: Path, capsys: Output) -> None:
    assert run(["deploy", str(tmp_path / "missing")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_invoke_prints_the_answer(stub: Stub, hello: Path, capsys: Output) -> None:
    run(["deploy", str(hello)])
    capsys.readouterr()

    assert run(["invoke", "hello", "--payload", '{"a": 1}']) == 0
    assert stub.asked("POST")[-1] == {"a": 1}
    assert json.loads(capsys.readouterr().out) == {"hello": "world"}


def test_invoke_reads_its_event_from_a_file(stub: Stub, hello: Path, tmp_path: Path) -> None:
    run(["deploy", str(hello)])
    (tmp_path / "event.json").write_text('{"from": "file"}')

    assert run(["invoke", "hello", "--payload", f"@{tmp_path / 'event.json'}"]) == 0
    assert stub.asked("POST")[-1] == {"from": "file"}


def test_a_function_error_is_exit_status_1(stub: Stub, hello: Path, capsys: Output) -> None:
    run(["deploy", str(hello)])
    stub.answer = (
        b'{"errorType": "ValueError", "errorMessage": "no", "stackTrace": ["  File app.py"]}',
        {"x-amz-function-error": "Unhandled"},
    )
    capsys.readouterr()

    assert run(["invoke", "hello"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "ValueError: no\n  File app.py\n"


def test_the_log_goes_to_stderr_and_raw_bytes_stay_raw(stub: Stub, hello: Path, capfdbinary: Any) -> None:
    run(["deploy", str(hello)])
    stub.answer = (b" [1,\t2]", {"x-amz-log-result": base64.b64encode(b"START [x]\n").decode()})
    capfdbinary.readouterr()

    assert run(["invoke", "hello", "--raw", "--log"]) == 0
    assert capfdbinary.readouterr() == (b" [1,\t2]", b"START [x]\n")


def test_as_json_the_answer_comes_with_aws_members(stub: Stub, hello: Path, capsys: Output) -> None:
    run(["deploy", str(hello)])
    stub.answer = (b"not json", {"x-amz-function-error": "Unhandled", "x-amz-executed-version": "$LATEST"})
    capsys.readouterr()

    assert run(["invoke", "hello", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "StatusCode": 200,
        "ExecutedVersion": "$LATEST",
        "FunctionError": "Unhandled",
        "Payload": "not json",
    }


def test_what_the_server_refuses_is_exit_status_3(stub: Stub, capsys: Output) -> None:
    assert run(["invoke", "nobody"]) == 3
    assert "ResourceNotFoundException: Function not found" in capsys.readouterr().err


def test_functions_are_listed_and_deleted(stub: Stub, hello: Path, capsys: Output) -> None:
    run(["deploy", str(hello)])
    capsys.readouterr()

    assert run(["list"]) == 0
    assert "hello" in capsys.readouterr().out.splitlines()[1]
    assert run(["delete", "hello"]) == 0
    assert run(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_mappings_are_listed_with_their_figures(stub: Stub, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counts = {"polled": 40, "filtered_out": 0, "invoked": 55, "failed": 16, "processed": 39, "deleted": 0, "dropped": 1}
    mapping = {"uuid": "u-1", "function": f"{ARN}hello", "state": "Enabled", "counts": counts}
    table = "table/t/stream/2026-11-21T05:00:00.000"
    stub.mappings = [
        mapping
        | {
            "source": f"arn:aws:dynamodb:us-east-1:000000000000:{table}",
            "iterator_age_s": 7.4,
            "last_problem": "Function call failed",
            "last_problem_ms": 1000,
        },
        mapping | {"source": "a:9092", "iterator_age_s": None, "last_problem": None, "last_problem_ms": None},
    ]
    assert run(["events", "mappings"]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    figures = ["40", "39", "16", "1"]
    told = ["1970-01-01T00:00:01Z", "Function", "call", "failed"]
    assert first.split() == ["u-1", "hello", table, "Enabled", "7", "s", *figures, *told]
    assert second.split() == ["u-1", "hello", "a:9092", "Enabled", *figures]


def test_logs_are_printed_with_their_times(stub: Stub, hello: Path, capsys: Output) -> None:
    run(["deploy", str(hello)])
    stub.events = [[{"eventId": "1", "timestamp": 1_000, "logStreamName": "s", "message": "one\n"}]]
    capsys.readouterr()

    assert run(["logs", "hello", "--filter", "one", "--since", "2h"]) == 0
    assert capsys.readouterr().out == "1970-01-01T00:00:01.000Z  one\n"
    assert stub.requests[-1][2]["filterPattern"] == "one"
    assert stub.requests[-1][2]["logGroupName"] == "/aws/lambda/hello"


def test_the_lines_of_a_traceback_are_lines(stub: Stub, hello: Path, capsys: Output) -> None:
    run(["deploy", str(hello)])
    traceback = "[ERROR] ValueError: no\rTraceback:\r  File"
    page = [{"eventId": "1", "timestamp": 1_000, "logStreamName": "s", "message": traceback}]
    stub.events = [page, page]
    capsys.readouterr()

    run(["logs", "hello"])
    assert capsys.readouterr().out == "1970-01-01T00:00:01.000Z  [ERROR] ValueError: no\nTraceback:\n  File\n"
    run(["logs", "hello", "--json"])
    assert json.loads(capsys.readouterr().out)["message"] == traceback


def test_following_shows_each_event_once(
    stub: Stub, hello: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["deploy", str(hello)])
    now_ms = int(time.time() * 1000)
    one, two, three = (
        {"eventId": str(number), "timestamp": now_ms + number, "logStreamName": "s", "message": str(number)}
        for number in (1, 2, 3)
    )
    stub.events = [[one, two], [two, three]]
    capsys.readouterr()

    def stop_when_all_is_read(_: float) -> None:
        if not stub.events:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", stop_when_all_is_read)
    with pytest.raises(SystemExit) as ended:
        run(["logs", "hello", "--follow", "--json"])

    assert ended.value.code == 130
    assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3"]


def test_the_runtimes_of_the_server_are_listed(stub: Stub, capsys: Output) -> None:
    assert run(["runtimes"]) == 0
    assert "python3.11" in capsys.readouterr().out
    assert run(["runtimes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == stub.runtimes


def test_env_prints_dummy_keys_where_there_is_no_root_key(tmp_path: Path, capsys: Output) -> None:
    assert run(["env", "--data-dir", str(tmp_path), "--endpoint-url", "http://127.0.0.1:9"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "export AWS_ENDPOINT_URL=http://127.0.0.1:9",
        "export AWS_ACCESS_KEY_ID=test",
        "export AWS_SECRET_ACCESS_KEY=test",
        "export AWS_DEFAULT_REGION=us-east-1",
    ]


def test_env_prints_the_root_key_ready_for_a_shell(tmp_path: Path, capsys: Output) -> None:
    key = {"access_key_id": "AKIA1", "secret_access_key": "a b+/$c"}
    (tmp_path / "root-key.json").write_text(json.dumps(key))

    assert run(["env", "--data-dir", str(tmp_path)]) == 0
    assert "export AWS_SECRET_ACCESS_KEY='a b+/$c'" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["list"], ["runtimes"], ["invoke", "x"], ["logs", "x"]])
def test_without_a_server_every_verb_says_how_to_start_one(command: list[str], capsys: Output) -> None:
    assert run([*command, "--endpoint-url", "http://127.0.0.1:1"]) == 4
    said = capsys.readouterr().err
    assert "No Lambent server answers at http://127.0.0.1:1." in said
    assert "lambent serve" in said


@pytest.mark.parametrize("arguments", [["invoke"], ["nonsense"], ["serve", "--auth", "maybe"], ["delete", "a", "b"]])
def test_a_wrong_command_line_is_exit_status_2(arguments: list[str], capsys: Output) -> None:
    assert run(arguments) == 2


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeOptions]:
    """What the server was told; it does not start."""
    options: list[ServeOptions] = []
    monkeypatch.setattr("lambent.process.serve", lambda told: options.append(told) or 0)
    return options


def test_serve_passes_on_what_it_was_told(served: list[ServeOptions], tmp_path: Path) -> None:
    arguments = ["--listen", "127.0.0.1:1234", "--data-dir", str(tmp_path), "--egress", "internet", "--user", "nobody"]
    more = ["--idle-timeout", "2m", "--endpoint", "s3=http://127.0.0.1:9000", "--runtime-fallback", "nearest"]

    assert run(["serve", *arguments, *more]) == 0
    (options,) = served
    assert options == ServeOptions(
        listen_port=1234,
        data_dir=tmp_path,
        egress=Egress.INTERNET,
        user="nobody",
        idle_timeout_s=120.0,
        endpoints={"s3": "http://127.0.0.1:9000"},
        runtime_fallback=RuntimeFallback.NEAREST,
    )


def test_serve_without_arguments_listens_on_loopback_and_lets_everyone_there_in(served: list[ServeOptions]) -> None:
    assert run(["serve"]) == 0
    assert served == [ServeOptions()]
    assert served[0].auth is Auth.OPEN


def test_serve_refuses_other_machines_without_signatures(served: list[ServeOptions], capsys: Output) -> None:
    assert run(["serve", "--listen", "0.0.0.0:9400"]) == 2
    assert "--auth enforce" in capsys.readouterr().err
    assert served == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_verb(shell: str, capsys: Output) -> None:
    assert run(["completion", shell]) == 0
    assert "deploy" in capsys.readouterr().out


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[[Level], None]:
    """Makes the doctor find a host that reaches this level and has no loop devices."""

    def find(level: Level) -> None:
        kernel = Finding(name="kernel", is_there=True, found="6.1", meaning="sandboxes can be made")
        loop = Finding(name="loop", is_there=False, found="[none]", meaning="/tmp has a size", remedy="start as root")
        report = HostReport(level=level, findings=(kernel, loop))
        monkeypatch.setattr("lambent.worker.sandbox.doctor.probe", lambda: report)

    return find


def test_the_doctor_tells_the_level_and_what_is_missing(host: Callable[[Level], None], capsys: Output) -> None:
    host(Level.USERNS)

    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Isolation: userns")
    assert "[none]" in said
    assert "Without loop it does not hold that /tmp has a size.\nTo have it: start as root." in said


def test_the_doctor_s_findings_come_as_json(host: Callable[[Level], None], capsys: Output) -> None:
    host(Level.FULL)

    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["level"], [finding["name"] for finding in report["findings"]]) == ("full", ["kernel", "loop"])


def test_a_hint_of_the_doctor_s_is_marked_as_one_and_changes_no_verdict(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = Finding(
        name="polling", is_there=False, found="none", meaning="it is fast", remedy="write 200000", is_hint=True
    )
    report = HostReport(level=Level.FULL, findings=(hint,))
    monkeypatch.setattr("lambent.worker.sandbox.doctor.probe", lambda: report)

    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Isolation: full")
    assert "hint  polling  none" in said
    assert "With polling it is fast. Nothing else depends on it.\nTo have it: write 200000." in said


def test_a_host_that_isolates_nothing_is_exit_status_1(host: Callable[[Level], None]) -> None:
    host(Level.PROCESS)

    assert run(["doctor"]) == 1
