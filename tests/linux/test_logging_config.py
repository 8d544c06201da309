"""LoggingConfig and trace headers from the function's process to the log store."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]

LOGS = """
import json, logging, os, sys
log = logging.getLogger("mine")
def handler(event, context):
    print("printed")
    log.debug("a debug message")
    log.warning("a warning", extra={"order": 7})
    sys.stderr.write(json.dumps({"level": "debug", "timestamp": "2024-11-02T16:51:31Z", "from": "stderr"}) + "\\n")
    if event == "raise":
        raise ValueError("no")
    return {name: os.environ.get(name) for name in ("AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL")}
"""


def tail_of(response: dict[str, Any]) -> list[str]:
    return base64.b64decode(response["LogResult"]).decode().splitlines()


def test_json_logs_are_records_of_platform_and_function(function: Function, invoke: Invoke) -> None:
    name = function(LOGS, LoggingConfig={"LogFormat": "JSON"})

    variables, response = invoke(name, LogType="Tail")

    assert variables == {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
    lines = tail_of(response)
    assert "printed" in lines
    records = [json.loads(line) for line in lines if line != "printed"]
    platform = [record["type"] for record in records if "type" in record]
    assert platform == ["platform.initStart", "platform.start", "platform.report"]
    assert records[0]["record"]["functionName"] == name
    (message,) = [record for record in records if "message" in record]
    assert message["level"] == "WARNING"
    assert (message["message"], message["logger"], message["order"]) == ("a warning", "mine", 7)
    request_id = response["ResponseMetadata"]["RequestId"]
    assert message["requestId"] == records[-1]["record"]["requestId"] == request_id
    assert "stderr" not in "".join(lines), "DEBUG is below the default level"


def test_levels_choose_what_is_logged(function: Function, invoke: Invoke) -> None:
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "DEBUG"}
    chatty = tail_of(invoke(function(LOGS, LoggingConfig=config), LogType="Tail")[1])
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN"}
    name = function(LOGS, LoggingConfig=config)
    quiet = tail_of(invoke(name, LogType="Tail")[1])
    failing = [line for line in tail_of(invoke(name, "raise", LogType="Tail")[1]) if line != "printed"]

    kinds = re.findall(r'"type":"platform\.(\w+)"', "".join(chatty))
    assert kinds == ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]
    assert "a debug message" in "".join(chatty)
    assert '"from": "stderr"' in "".join(chatty)
    assert quiet == ["printed"], "a plain line has no level and is always kept"
    error, done = (json.loads(line) for line in failing)
    assert (error["level"], error["errorType"], error["errorMessage"]) == ("ERROR", "ValueError", "no")
    assert error["stackTrace"]
    assert (done["type"], done["record"]["status"]) == ("platform.runtimeDone", "error")


def test_several_functions_share_a_log_group(function: Function, invoke: Invoke, logs: Any) -> None:
    group = {"LogFormat": "JSON", "LogGroup": "/shared/by-two"}
    names = [function("def handler(event, context): return context.log_group_name", LoggingConfig=group) for _ in "12"]

    assert [invoke(name)[0] for name in names] == ["/shared/by-two"] * 2
    deadline = time.monotonic() + 20
    streams: list[str] = []
    while len(streams) < 2 and time.monotonic() < deadline:
        found = logs.describe_log_groups(logGroupNamePrefix="/shared/by-two")["logGroups"]
        if found:
            listed = logs.describe_log_streams(logGroupName="/shared/by-two")["logStreams"]
            streams = sorted(stream["logStreamName"] for stream in listed)
    assert [re.sub(r".*/(.*)\[\$LATEST\][0-9a-f]{32}", r"\1", stream) for stream in streams] == sorted(names)


TRACE = "import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']"


def test_every_invoke_has_a_trace_id_of_its_own(function: Function, invoke: Invoke) -> None:
    name = function(TRACE)

    first, response = invoke(name, LogType="Tail")
    second, _ = invoke(name)

    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=1:[0-9a-f]{8}:0", first)
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"] == first
    assert second != first
    assert "XRAY" not in "".join(tail_of(response))


def test_active_tracing_samples_and_reports_the_trace(function: Function, invoke: Invoke) -> None:
    name = function(TRACE, TracingConfig={"Mode": "Active"})

    trace, response = invoke(name, LogType="Tail")

    root, parent = re.fullmatch(r"Root=([^;]+);Parent=([^;]+);Sampled=1;Lineage=.*", trace).groups()  # type: ignore[union-attr]
    assert f"XRAY TraceId: {root}\tSegmentId: {parent}\tSampled: true\t" in tail_of(response)
