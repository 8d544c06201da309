"""By which ARN an endpoint knows the stream of a table: DynamoDB Local has a region of its own that no ARN may name.

A stream is told by its table and its label, so what stands in for DynamoDB may have any region and account.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class _Stream(msgspec.Struct, rename="pascal"):
    stream_arn: str
    stream_label: str = ""


class TableStreams(msgspec.Struct, rename="pascal"):
    """The answer to ListStreams, asked as `listing` says."""

    streams: list[_Stream] = []

    def arn_of(self, arn: str) -> str:
        """The endpoint's own; the same where it has none of that label."""
        label = arn.rpartition("/stream/")[2]
        return next((one.stream_arn for one in self.streams if one.stream_label == label), arn)


def listing(arn: str) -> Mapping[str, object]:
    return {"TableName": arn.partition(":table/")[2].partition("/")[0]}
