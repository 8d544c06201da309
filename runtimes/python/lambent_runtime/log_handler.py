"""The root logger's one handler, as AWS sets it up. Imported only once the function has imported `logging`."""

from __future__ import annotations

import json
import logging
import os
import time

from lambent_runtime import log

_TEXT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_KNOWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"aws_request_id", "tenant_id", "taskName"}


def configure() -> None:
    """Give the root logger its handler and, if one is configured, its level."""
    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler()
    handler.addFilter(_add_invocation)
    handler.setFormatter(JsonFormatter() if log.is_json() else logging.Formatter(_TEXT, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = "DEBUG" if level == "TRACE" else level
    if level in logging._nameToLevel:
        root.setLevel(level)


def _add_invocation(record: logging.LogRecord) -> bool:
    record.aws_request_id = log.current.request_id
    record.tenant_id = log.current.tenant_id
    return True


class LambdaLoggerHandler(logging.Handler):
    """Writes each record as one log event, whatever formatter the function gives it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log.write_event(self.format(record))
        except Exception:
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """One JSON object per record: AWS's keys, then what the function passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        level = min(50, max(0, record.levelno)) // 10 * 10
        fields = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": logging.getLevelName(level),
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
            **_exception_fields(record),
            "requestId": getattr(record, "aws_request_id", None),
            "tenantId": getattr(record, "tenant_id", None),
        }
        extra = {key: value for key, value in vars(record).items() if key not in _KNOWN_FIELDS and key not in fields}
        kept = {key: value for key, value in {**fields, **extra}.items() if value is not None}
        return json.dumps(kept, ensure_ascii=False, default=str)


def _exception_fields(record: logging.LogRecord) -> dict[str, object]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    import traceback

    kind, value, trace = record.exc_info
    return {
        "stackTrace": traceback.format_tb(trace),
        "errorType": kind.__name__,
        "errorMessage": str(value),
        "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
    }
