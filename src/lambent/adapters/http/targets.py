"""Outcomes to SQS, SNS, EventBridge and S3, by their own APIs at the endpoints that the operator has given."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import msgspec

from lambent.adapters.http.aws_services import AwsServices, ServiceRequest, Unreachable
from lambent.model.event import Message
from lambent.ports.targets import Undelivered

_REASON_CHARACTERS = 500
_PASSING = frozenset((408, 425, 429))


class HttpTargets:
    """Implements `lambent.ports.targets.Targets`."""

    def __init__(self, services: AwsServices) -> None:
        self._services = services

    async def send(self, message: Message, body: bytes) -> None:
        service, region = message.target.split(":")[2:4]
        if service not in _REQUESTS:
            raise Undelivered(f"{message.target} is no target that Lambent knows", is_final=True)
        endpoint = self._services.endpoint(service)
        if endpoint is None:
            raise Undelivered(
                f"Lambent has no endpoint for {service}: start it with --endpoint {service}=URL", is_final=True
            )
        request = _REQUESTS[service](message, body, endpoint)
        answer = await self._exchange(service, region or "us-east-1", request)
        if _RECEIPTS[service] not in answer:
            raise Undelivered(
                f"{endpoint} answered, but not as {service} does: {_excerpt(answer)}. Check --endpoint {service}=URL",
                is_final=True,
            )
        if service == "events":
            _check_entries(answer)

    async def _exchange(self, service: str, region: str, request: ServiceRequest) -> bytes:
        try:
            answer = await self._services.exchange(service, region, request)
        except Unreachable as error:
            raise Undelivered(str(error), is_final=False) from error
        if answer.status >= 300:
            raise _refused(service, answer.status, answer.body)
        return answer.body


def _refused(service: str, status: int, answer: bytes) -> Undelivered:
    reason = _excerpt(answer)
    is_final = status < 500 and status not in _PASSING and "hrottl" not in reason
    return Undelivered(f"{service} answered HTTP {status}: {reason}", is_final=is_final)


def _excerpt(answer: bytes) -> str:
    return " ".join(answer.decode(errors="replace").split())[:_REASON_CHARACTERS]


def _to_queue(message: Message, body: bytes, endpoint: str) -> ServiceRequest:
    account, name = message.target.split(":")[4:6]
    attributes = {key: {"DataType": kind, "StringValue": value} for key, (kind, value) in message.attributes.items()}
    sent = {"QueueUrl": f"{endpoint.rstrip('/')}/{account}/{name}", "MessageBody": body.decode()}
    return ServiceRequest(
        path="/",
        body=msgspec.json.encode(sent | ({"MessageAttributes": attributes} if attributes else {})),
        headers=_headers(message, "application/x-amz-json-1.0", "AmazonSQS.SendMessage"),
    )


def _to_topic(message: Message, body: bytes, endpoint: str) -> ServiceRequest:
    parameters = {
        "Action": "Publish",
        "Version": "2010-03-31",
        "TopicArn": message.target,
        "Message": body.decode(),
    }
    for number, (key, (kind, value)) in enumerate(message.attributes.items(), 1):
        entry = f"MessageAttributes.entry.{number}"
        parameters |= {
            f"{entry}.Name": key,
            f"{entry}.Value.DataType": kind,
            f"{entry}.Value.StringValue": value,
        }
    return ServiceRequest(
        path="/", body=urlencode(parameters).encode(), headers=_headers(message, "application/x-www-form-urlencoded")
    )


def _to_bus(message: Message, body: bytes, endpoint: str) -> ServiceRequest:
    entry = {
        "Source": "lambda",
        "DetailType": message.detail_type,
        "Resources": message.resources,
        "Detail": body.decode(),
        "EventBusName": message.target,
        "TraceHeader": message.trace_id,
    }
    return ServiceRequest(
        path="/",
        body=msgspec.json.encode({"Entries": [entry]}),
        headers=_headers(message, "application/x-amz-json-1.1", "AWSEvents.PutEvents"),
    )


def _to_bucket(message: Message, body: bytes, endpoint: str) -> ServiceRequest:
    bucket = message.target.rpartition(":")[2]
    return ServiceRequest(
        method="PUT",
        path=f"/{bucket}/{quote(message.object_key or '', safe='/~')}",
        body=body,
        headers={"content-type": "application/json"},
    )


_RECEIPTS = {"sqs": b"MessageId", "sns": b"MessageId", "events": b"FailedEntryCount", "s3": b""}
"""What is in the answer of a service that has taken a message: whoever else answers 200 has not."""

_REQUESTS = {"sqs": _to_queue, "sns": _to_topic, "events": _to_bus, "s3": _to_bucket}


def _headers(message: Message, content_type: str, target: str = "") -> dict[str, str]:
    """The trace goes along, so that a loop through the target is found out."""
    headers = {"content-type": content_type, "x-amzn-trace-id": message.trace_id, "x-amz-target": target}
    return {name: value for name, value in headers.items() if value}


def _check_entries(answer: bytes) -> None:
    """EventBridge says 200 and refuses in the body."""
    result = msgspec.json.decode(answer)
    if result.get("FailedEntryCount"):
        entry = result["Entries"][0]
        code = entry.get("ErrorCode", "")
        is_final = code not in ("InternalFailure", "ThrottlingException")
        raise Undelivered(f"events refused the entry: {code}: {entry.get('ErrorMessage')}", is_final=is_final)
