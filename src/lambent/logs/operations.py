"""The CloudWatch Logs API: its operations by name, each from AWS's parameters to AWS's answer.

Parameters arrive checked against the service model; what is checked here is what the service itself checks.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any  # Any: parameters are of whatever type the service model gives them

from lambent.logs.events_api import EventsApi
from lambent.logs.groups_api import GroupsApi
from lambent.logs.tags_api import TagsApi
from lambent.model.caller import CallerContext
from lambent.ports.log_store import LogStore

Operation = Callable[[CallerContext, dict[str, Any]], Awaitable[dict[str, Any]]]


class LogsApi:
    """What of CloudWatch Logs is built, over one log store; `clock` gives epoch seconds."""

    def __init__(self, store: LogStore, *, clock: Callable[[], float] = time.time) -> None:
        def clock_ms() -> int:
            return int(clock() * 1000)

        groups, tags, events = GroupsApi(store, clock_ms), TagsApi(store), EventsApi(store, clock_ms)
        self.operations: Mapping[str, Operation] = {
            "CreateLogGroup": groups.create_log_group,
            "CreateLogStream": groups.create_log_stream,
            "DeleteLogGroup": groups.delete_log_group,
            "DeleteLogStream": groups.delete_log_stream,
            "DeleteRetentionPolicy": groups.delete_retention_policy,
            "DescribeLogGroups": groups.describe_log_groups,
            "DescribeLogStreams": groups.describe_log_streams,
            "FilterLogEvents": events.filter_log_events,
            "GetLogEvents": events.get_log_events,
            "ListTagsForResource": tags.list_tags_for_resource,
            "ListTagsLogGroup": tags.list_tags_log_group,
            "PutLogEvents": events.put_log_events,
            "PutRetentionPolicy": groups.put_retention_policy,
            "TagLogGroup": tags.tag_log_group,
            "TagResource": tags.tag_resource,
            "UntagLogGroup": tags.untag_log_group,
            "UntagResource": tags.untag_resource,
        }
