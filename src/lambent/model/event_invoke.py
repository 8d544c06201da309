"""How a function, version or alias wants its asynchronous invokes to be retried, and where their outcomes go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RETRY_ATTEMPTS_DEFAULT: Final = 2
EVENT_AGE_S_DEFAULT: Final = 21_600


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInvokeConfig:
    """What was said, by qualifier in the function's record; None stands for AWS's default, or for no destination.

    A destination is the ARN of an SQS queue, an SNS topic, a function, an EventBridge bus or (on failure) an S3 bucket.
    """

    maximum_retry_attempts: int | None = None
    maximum_event_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    last_modified_s: float
    """Epoch seconds."""
