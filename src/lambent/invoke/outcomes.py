"""What is told of an event once Lambda is done with it, to whom, and in which words. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from lambent.invoke import recursion
from lambent.invoke.terms import Terms
from lambent.model.arn import LATEST
from lambent.model.event import Condition, EventHead, Message, OutcomeHead, Recipient
from lambent.model.invocation import InvokeResult

_ERROR_MESSAGE_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an event ended. `result` is what the function answered last, None where it did not run just now."""

    head: EventHead
    payload: bytes
    condition: Condition
    result: InvokeResult | None
    at_s: float
    """Epoch seconds."""
    object_id: str
    """A UUID, for the name of an S3 object."""

    @property
    def is_success(self) -> bool:
        return self.condition is Condition.SUCCESS


def outcomes(ending: Ending, terms: Terms) -> Iterator[tuple[OutcomeHead, bytes]]:
    """Each message to send with its body: to the destination, and on failure to the dead-letter queue as well."""
    destination = terms.on_success if ending.is_success else terms.on_failure
    if destination is not None:
        recipient = Recipient.ON_SUCCESS if ending.is_success else Recipient.ON_FAILURE
        yield _outcome(ending, recipient, _destination_message(ending, destination)), record(ending)
    if terms.dead_letter is not None and not ending.is_success:
        message = Message(
            target=terms.dead_letter, trace_id=_trace(ending.head), attributes=_dead_letter_attributes(ending.head)
        )
        yield _outcome(ending, Recipient.DEAD_LETTER, message), ending.payload


def record(ending: Ending) -> bytes:
    """The invocation record, as JSON."""
    head, result = ending.head, ending.result
    members: dict[str, object] = {
        "version": "1.0",
        "timestamp": _time(ending.at_s).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": head.request_id,
            "functionArn": _function_arn(head),
            "condition": ending.condition,
            "approximateInvokeCount": head.attempts,
        },
        "requestPayload": msgspec.Raw(ending.payload),
    }
    if result is not None:
        context: dict[str, object] = {"statusCode": 200, "executedVersion": result.executed_version}
        if result.function_error is not None:
            context["functionError"] = result.function_error
        members |= {"responseContext": context, "responsePayload": _as_json(result.payload)}
    return msgspec.json.encode(members)


def error_message(result: InvokeResult) -> str:
    """What a failed function's answer says: its `errorMessage`, else all of it."""
    try:
        answer = msgspec.json.decode(result.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    message = answer.get("errorMessage") if isinstance(answer, dict) else None
    return _cut(message if isinstance(message, str) else result.payload.decode(errors="replace"))


def _outcome(ending: Ending, recipient: Recipient, message: Message) -> OutcomeHead:
    head = ending.head
    return OutcomeHead(
        request_id=head.request_id,
        function=head.function,
        recipient=recipient,
        condition=ending.condition,
        message=message,
    )


def _destination_message(ending: Ending, destination: str) -> Message:
    head, at = ending.head, _time(ending.at_s)
    kind = "Success" if ending.is_success else "Failure"
    return Message(
        target=destination,
        trace_id=_trace(head),
        detail_type=f"Lambda Function Invocation Result - {kind}",
        resources=(destination, _function_arn(head)),
        object_key=f"aws/lambda/async/{head.function.name}/{at:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{ending.object_id}",
    )


def _dead_letter_attributes(head: EventHead) -> dict[str, tuple[str, str]]:
    return {
        "RequestID": ("String", head.request_id),
        "ErrorCode": ("Number", str(head.error_code)),
        "ErrorMessage": ("String", head.error_message or "Unknown"),  # an attribute may not be empty
    }


def _trace(head: EventHead) -> str:
    """Whatever follows from an event has gone through its function, even one that did not run."""
    return recursion.extend(head.trace_id, head.function)[0]


def _function_arn(head: EventHead) -> str:
    return str(head.function.qualified(head.function.qualifier or LATEST))


def _as_json(payload: bytes) -> object:
    """The function's answer as it is; a custom runtime's that is no JSON becomes a string."""
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)
        payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload.decode(errors="replace")
    return msgspec.Raw(payload)


def _cut(text: str) -> str:
    return text.encode()[:_ERROR_MESSAGE_BYTES].decode(errors="ignore")


def _time(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
