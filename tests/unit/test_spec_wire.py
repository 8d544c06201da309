"""Routes, malformed requests, errors and frames: what round trips do not reach."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import create_parser
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from lambent import spec
from lambent.model import errors
from lambent.model.errors import ApiError, SerializationError, UnknownOperation
from lambent.spec.eventstream import encode_frame
from lambent.spec.timestamps import format_iso, parse_timestamp

LAMBDA = spec.load("lambda")
LOGS = spec.load("logs")
STS = spec.load("sts")
IAM = spec.load("iam")
CREATE_GROUP = {"x-amz-target": "Logs_20140328.CreateLogGroup"}


def routed(method: str, path: str, query: str = "") -> tuple[str, dict[str, str]]:
    operation, labels = LAMBDA.route(method, path, query, {}, b"")
    return operation.name, dict(labels)


@pytest.mark.parametrize(
    ("method", "path", "query", "operation", "labels"),
    [
        ("GET", "/2015-03-31/functions", "", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions/", "MaxItems=1", "ListFunctions", {}),
        ("GET", "/2018-10-31/layers", "", "ListLayers", {}),
        ("GET", "/2018-10-31/layers", "find=LayerVersion&Arn=a", "GetLayerVersionByArn", {}),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "MaxItems=1&List=ALL",
            "ListProvisionedConcurrencyConfigs",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "Qualifier=1",
            "GetProvisionedConcurrencyConfig",
            {"FunctionName": "f"},
        ),
        (
            "POST",
            "/2015-03-31/functions/f%3A%24LATEST/invocations",
            "",
            "Invoke",
            {"FunctionName": "f:$LATEST"},
        ),
        ("GET", "/2015-03-31/functions/a%2Fb%2541", "", "GetFunction", {"FunctionName": "a/b%41"}),
    ],
)
def test_a_path_leads_to_its_operation(
    method: str, path: str, query: str, operation: str, labels: dict[str, str]
) -> None:
    assert routed(method, path, query) == (operation, labels)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "*"),
        ("GET", "/2015-03-31/functions/f/no/such"),
        ("PATCH", "/2015-03-31/functions"),
    ],
)
def test_an_unknown_path_is_an_unknown_operation(method: str, path: str) -> None:
    with pytest.raises(UnknownOperation):
        routed(method, path)


def test_no_place_in_a_path_is_both_a_word_and_a_label() -> None:
    """The router never turns back, so such a model would hide an operation."""

    def walk(node: Any) -> None:
        assert not (node.literals and node.label)
        for child in (*node.literals.values(), *filter(None, [node.label])):
            walk(child)

    walk(LAMBDA._protocol._root)  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", ["", "CreateLogGroup", "Logs_20140328.NoSuch", "Other.CreateLogGroup"])
def test_an_unknown_target_is_an_unknown_operation(target: str) -> None:
    with pytest.raises(UnknownOperation):
        LOGS.route("POST", "/", "", {"x-amz-target": target}, b"{}")


def test_an_unknown_action_is_an_unknown_operation() -> None:
    with pytest.raises(UnknownOperation, match="Could not find operation Dance for version 2011-06-15"):
        STS.route("POST", "/", "", {}, b"Action=Dance&Version=2011-06-15")


def test_the_payload_of_invoke_is_the_very_body() -> None:
    body = b'{"a": 1}' * 100

    parameters = LAMBDA.operations["Invoke"].parse({"FunctionName": "f"}, "", {}, body)

    assert parameters["Payload"] is body


def test_members_that_the_model_does_not_know_are_ignored() -> None:
    operation, labels = LOGS.route("POST", "/", "", CREATE_GROUP, b"")

    assert operation.parse(labels, "", {}, b'{"logGroupName": "g", "brandNew": {"a": [1]}, "tags": null}') == {
        "logGroupName": "g"
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Could not parse request body into json: "),
        (b"\xff", "Could not parse request body into json: "),
        (b"[" * 100_000, "Could not parse request body into json: "),
        (b"[]", "Start of list found where not expected."),
        (b"null", "NULL_VALUE can not be converted to an object"),
        (b'{"logGroupName": 1}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"logGroupName": true}', "TRUE_VALUE can not be converted to a String"),
        (b'{"logGroupName": {}}', "Start of structure or map found where not expected."),
        (b'{"logGroupName": "g", "tags": []}', "Start of list found where not expected."),
        (b'{"logGroupName": "g", "deletionProtectionEnabled": "x"}', "STRING_VALUE can not be converted to a Boolean"),
    ],
)
def test_a_body_of_the_wrong_form_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(SerializationError) as refusal:
        LOGS.operations["CreateLogGroup"].parse({}, "", {}, body)

    assert refusal.value.message is not None
    assert refusal.value.message.startswith(message)


def test_a_blob_that_is_not_base64_is_refused() -> None:
    body = b'{"ZipFile": "not base64!"}'

    with pytest.raises(SerializationError, match="can not be converted to a Blob"):
        LAMBDA.operations["UpdateFunctionCode"].parse({"FunctionName": "f"}, "", {}, body)


@pytest.mark.parametrize("query", ["MaxItems=ten", "MaxItems=1_0", "MaxItems=", "MaxItems=%D9%A1"])
def test_a_number_in_the_query_is_digits(query: str) -> None:
    with pytest.raises(SerializationError, match="can not be converted to an Integer"):
        LAMBDA.operations["ListFunctions"].parse({}, query, {}, b"")


@pytest.mark.parametrize("form", ["Tags=a&Tags.member.1.Key=b", "Tags.member.1.Key=b&Tags=a", "Tags.member.x.Key=b"])
def test_a_form_that_contradicts_itself_is_refused(form: str) -> None:
    operation, labels = IAM.route("POST", "/", "", {}, f"Action=TagRole&RoleName=r&{form}".encode())

    with pytest.raises(SerializationError):
        operation.parse(labels, "", {}, b"")


@given(st.binary(max_size=60), st.text(max_size=40))
def test_no_request_breaks_the_parser(body: bytes, text: str) -> None:
    for service in (LAMBDA, LOGS, STS):
        try:
            operation, labels = service.route("POST", "/2015-03-31/functions", text, CREATE_GROUP, b"Action=" + body)
            operation.parse(labels, text, {}, body)
        except ApiError:
            pass


def test_an_answer_may_choose_its_status() -> None:
    status, headers, body = LAMBDA.operations["Invoke"].serialize({"StatusCode": 202})

    assert (status, headers, body) == (202, [], b"")


def test_an_answer_with_a_member_that_the_model_lacks_is_our_own_error() -> None:
    with pytest.raises(errors.PlatformError, match="has no member 'Functoins'"):
        LAMBDA.operations["ListFunctions"].serialize({"Functoins": []})


def test_a_query_answer_carries_the_request_id() -> None:
    output = {"UserId": "1", "Account": "2", "Arn": "a & b"}

    status, headers, body = STS.operations["GetCallerIdentity"].serialize(output, "request-1")

    assert (status, headers) == (200, [(b"Content-Type", b"text/xml")])
    assert body == (
        b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        b"<UserId>1</UserId><Account>2</Account><Arn>a &amp; b</Arn></GetCallerIdentityResult>"
        b"<ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )


def read_error(service: spec.Service, error: ApiError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and what botocore makes of the error."""
    model = get_session().get_service_model(service.name)
    status, raw_headers, body = service.serialize_error(error, "request-1")
    headers = {name.decode().lower(): value.decode() for name, value in raw_headers}
    answer = {"status_code": status, "headers": headers, "body": body}
    shape = model.operation_model(model.operation_names[0]).output_shape
    return status, headers, create_parser(model.protocol).parse(answer, shape)["Error"]


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (errors.InvalidParameterValue("m"), 400, {"Type": "User", "message": "m"}),
        (errors.ResourceNotFound("m"), 404, {"Type": "User", "Message": "m"}),
        (errors.ResourceNotFound("m", Type="User"), 404, {"Type": "User", "Message": "m"}),
        (errors.ServiceError("m"), 500, {"Type": "Service", "Message": "m"}),
        (errors.RequestEntityTooLarge("m"), 413, {"Type": "User", "message": "m"}),
        (errors.TooManyRequests("m", Reason="r"), 429, {"Type": "User", "message": "m", "Reason": "r"}),
        (errors.ValidationError("m"), 400, {"message": "m"}),
        (errors.AccessDenied("m"), 403, {"Message": "m"}),
        (errors.UnknownOperation(None), 404, {}),
    ],
)
def test_lambda_spells_each_error_as_modelled(error: ApiError, status: int, body: dict[str, str]) -> None:
    answered, headers, raw = LAMBDA.serialize_error(error, "request-1")

    assert (answered, msgspec.json.decode(raw)) == (status, body)
    assert headers == [(b"Content-Type", b"application/json"), (b"x-amzn-ErrorType", error.code.encode())]
    assert read_error(LAMBDA, error)[2]["Code"] == error.code


@pytest.mark.parametrize("name", ["retryAfterSeconds", "Retry-After"])
def test_fields_that_are_headers_travel_as_headers(name: str) -> None:
    _, headers, body = LAMBDA.serialize_error(errors.TooManyRequests("m", **{name: "1"}), "request-1")

    assert (b"Retry-After", b"1") in headers
    assert msgspec.json.decode(body) == {"Type": "User", "message": "m"}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.ResourceNotFound("m"), 400, "ResourceNotFoundException"),
        (errors.ValidationError("m"), 400, "InvalidParameterException"),
        (errors.AccessDenied("m"), 400, "AccessDeniedException"),
        (errors.UnknownOperation("m"), 404, "UnknownOperationException"),
        (errors.ServiceError("m"), 500, "ServiceException"),
    ],
)
def test_logs_answers_every_modelled_refusal_with_400(error: ApiError, status: int, code: str) -> None:
    answered, headers, read = read_error(LOGS, error)

    assert (answered, read) == (status, {"Code": code, "Message": "m"})
    assert headers["content-type"] == "application/x-amz-json-1.1"


@pytest.mark.parametrize(
    ("service", "error", "code", "at_fault"),
    [
        (STS, errors.ValidationError("a < b"), "ValidationError", "Sender"),
        (STS, errors.UnrecognizedClient("a < b"), "InvalidClientTokenId", "Sender"),
        (STS, errors.UnknownOperation("a < b"), "InvalidAction", "Sender"),
        (IAM, errors.ServiceUnavailable("a < b"), "ServiceUnavailable", "Receiver"),
    ],
)
def test_the_query_protocol_keeps_its_older_error_codes(
    service: spec.Service, error: ApiError, code: str, at_fault: str
) -> None:
    status, _, read = read_error(service, error)

    assert (status, read) == (error.status, {"Type": at_fault, "Code": code, "Message": "a < b"})


def test_an_exception_of_the_query_protocol_goes_by_its_own_code() -> None:
    class NoSuchEntity(ApiError):
        code, status = "NoSuchEntityException", 404

    assert read_error(IAM, NoSuchEntity("m"))[2]["Code"] == "NoSuchEntity"


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=4), st.binary(max_size=300))
def test_a_frame_is_read_back_by_botocore(headers: dict[str, str], payload: bytes) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(encode_frame(headers, payload))

    (message,) = buffer

    assert (message.headers, message.payload) == (headers, payload)


@pytest.mark.parametrize(
    "text",
    ["1709209815", "1709209815.0", "2024-02-29T12:30:15Z", "2024-02-29T12:30:15", "Thu, 29 Feb 2024 12:30:15 GMT"],
)
def test_a_timestamp_is_read_in_any_of_the_wires_forms(text: str) -> None:
    assert parse_timestamp(text) == 1709209815.0
    assert format_iso(1709209815.0) == "2024-02-29T12:30:15Z"


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "1e300", "2024-13-01T00:00:00Z"])
def test_a_text_that_is_no_timestamp_is_refused(text: str) -> None:
    with pytest.raises(SerializationError):
        parse_timestamp(text)
