"""IAM's refusals."""

from __future__ import annotations

from lambent.model.errors import ApiError, NotImplementedByLambent


class NoSuchEntity(ApiError):
    code, status = "NoSuchEntityException", 404


class EntityAlreadyExists(ApiError):
    code, status = "EntityAlreadyExistsException", 409


class DeleteConflict(ApiError):
    code, status = "DeleteConflictException", 409


class LimitExceeded(ApiError):
    code, status = "LimitExceededException", 409


class MalformedPolicyDocument(ApiError):
    code, status = "MalformedPolicyDocumentException", 400


class InvalidInput(ApiError):
    code, status = "InvalidInputException", 400


class ConcurrentModification(ApiError):
    code, status = "ConcurrentModificationException", 409


def unsupported(parameter: str) -> NotImplementedByLambent:
    return NotImplementedByLambent(
        f"Lambent does not support {parameter} yet: remove it from the request. See docs/compatibility.md"
    )
