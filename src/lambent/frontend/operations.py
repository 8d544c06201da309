"""The operations that are built, by service. What is not in here is refused by name (docs/compatibility.md)."""

from __future__ import annotations

from collections.abc import Mapping

IMPLEMENTED: Mapping[str, frozenset[str]] = {
    "lambda": frozenset(
        (
            "CreateAlias",
            "CreateFunction",
            "DeleteAlias",
            "DeleteFunction",
            "DeleteFunctionConcurrency",
            "DeleteFunctionEventInvokeConfig",
            "GetAccountSettings",
            "GetAlias",
            "GetFunction",
            "GetFunctionConcurrency",
            "GetFunctionConfiguration",
            "GetFunctionEventInvokeConfig",
            "GetFunctionRecursionConfig",
            "Invoke",
            "ListAliases",
            "ListFunctionEventInvokeConfigs",
            "ListFunctions",
            "ListVersionsByFunction",
            "PublishVersion",
            "PutFunctionConcurrency",
            "PutFunctionEventInvokeConfig",
            "PutFunctionRecursionConfig",
            "UpdateAlias",
            "UpdateFunctionCode",
            "UpdateFunctionConfiguration",
            "UpdateFunctionEventInvokeConfig",
        )
    ),
    "logs": frozenset(
        (
            "CreateLogGroup",
            "CreateLogStream",
            "DeleteLogGroup",
            "DeleteLogStream",
            "DeleteRetentionPolicy",
            "DescribeLogGroups",
            "DescribeLogStreams",
            "FilterLogEvents",
            "GetLogEvents",
            "PutLogEvents",
            "PutRetentionPolicy",
        )
    ),
    "sts": frozenset(("GetCallerIdentity",)),
    "iam": frozenset(),
}
