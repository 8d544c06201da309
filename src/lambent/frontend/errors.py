"""Errors become HTTP here and nowhere else: the three families, translated once."""

from __future__ import annotations

import logging

from lambent.model.errors import ApiError, PlatformError, ServiceError

log = logging.getLogger(__name__)


def as_api_error(error: Exception, request_id: str) -> ApiError:
    """What the caller is told. What is our own fault is logged for a person to act on, and told without detail."""
    if isinstance(error, ApiError):
        return error
    log.error(
        "request.failed",
        exc_info=error,
        extra={"request_id": request_id, "is_expected": isinstance(error, PlatformError)},
    )
    return ServiceError("An internal error occurred; Lambent's log has the details for this request id.")
