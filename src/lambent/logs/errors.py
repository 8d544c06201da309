"""CloudWatch Logs' refusals. Over its JSON protocol even a resource that does not exist is a 400."""

from __future__ import annotations

from lambent.model.errors import ApiError


class InvalidParameter(ApiError):
    code, status = "InvalidParameterException", 400


class AlreadyExists(ApiError):
    code, status = "ResourceAlreadyExistsException", 400


class TooManyTags(ApiError):
    code, status = "TooManyTagsException", 400


class NotFound(ApiError):
    code, status = "ResourceNotFoundException", 400
