"""The three families of errors, told apart by who must act.

`ApiError`: the caller of the AWS API; becomes AWS's code, status and message in `frontend/errors.py`.
`FunctionError`: the customer's code; becomes an Invoke answer with `X-Amz-Function-Error`.
`PlatformError`: us; becomes a 500 and a log line that a person must read.
"""

from __future__ import annotations

from typing import ClassVar


class ApiError(Exception):
    """A refusal in AWS's words. Subclasses carry AWS's code; `fields` are further members of the error body.

    A field of None is a member that the body of such an error has otherwise, and that AWS leaves out here.
    """

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None, **fields: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        """Further modelled members by wire name, e.g. `Reason`; a lower-kebab name (`retry-after`) is a header."""


class InvalidParameterValue(ApiError):
    code, status = "InvalidParameterValueException", 400


class ValidationError(ApiError):
    """A constraint of the service model was broken (AWS's framework answers these before the service does)."""

    code, status = "ValidationException", 400


class SerializationError(ApiError):
    """The request's body or one of its members is not of the form that the service model asks for."""

    code, status = "SerializationException", 400


class InvalidRequestContent(ApiError):
    code, status = "InvalidRequestContentException", 400


class CodeStorageExceeded(ApiError):
    code, status = "CodeStorageExceededException", 400


class PolicyLengthExceeded(ApiError):
    code, status = "PolicyLengthExceededException", 400


class AccessDenied(ApiError):
    code, status = "AccessDeniedException", 403


class MissingAuthenticationToken(ApiError):
    code, status = "MissingAuthenticationTokenException", 403


class IncompleteSignature(ApiError):
    code, status = "IncompleteSignatureException", 403


class UnrecognizedClient(ApiError):
    code, status = "UnrecognizedClientException", 403


class InvalidSignature(ApiError):
    code, status = "InvalidSignatureException", 403


class ExpiredToken(ApiError):
    code, status = "ExpiredTokenException", 403


class UnknownOperation(ApiError):
    code, status = "UnknownOperationException", 404


class ResourceNotFound(ApiError):
    code, status = "ResourceNotFoundException", 404


class ResourceInUse(ApiError):
    """A change of an event source mapping is still under way."""

    code, status = "ResourceInUseException", 400


class CodeSigningConfigNotFound(ApiError):
    code, status = "CodeSigningConfigNotFoundException", 404


class CodeVerificationFailed(ApiError):
    """No allowed publisher has signed the code, and the code signing policy is to enforce that one has."""

    code, status = "CodeVerificationFailedException", 400


class ResourceConflict(ApiError):
    code, status = "ResourceConflictException", 409


class PreconditionFailed(ApiError):
    code, status = "PreconditionFailedException", 412


class RequestEntityTooLarge(ApiError):
    """On the wire AWS says RequestEntityTooLargeException where the model says RequestTooLargeException."""

    code, status = "RequestEntityTooLargeException", 413


class UnsupportedMediaType(ApiError):
    code, status = "UnsupportedMediaTypeException", 415


class TooManyRequests(ApiError):
    """`Reason` is one of reference/concurrency-scaling §4."""

    code, status = "TooManyRequestsException", 429


class ServiceError(ApiError):
    code, status = "ServiceException", 500


class ServiceUnavailable(ApiError):
    code, status = "ServiceUnavailable", 503


class NotImplementedByLambent(ApiError):
    """A feature or operation of AWS that Lambent refuses by name; listed in docs/compatibility.md."""

    code, status = "NotImplementedException", 400


class SnapStartError(ApiError):
    """An environment could not be restored: an after-restore hook failed, or its runtime ended."""

    code, status = "SnapStartException", 400


class SnapStartTimeout(ApiError):
    """A restore took longer than it may."""

    code, status = "SnapStartTimeoutException", 408


class FunctionError(Exception):
    """The customer's code failed. `error_type` is AWS's word (`Runtime.ExitError`); `payload` answers the caller."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message


class PlatformError(Exception):
    """Lambent itself failed; the message says what was expected, what was found and what to do."""
