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
            "GetAccountSettings",
            "GetAlias",
            "GetFunction",
            "GetFunctionConcurrency",
            "GetFunctionConfiguration",
            "Invoke",
            "ListAliases",
            "ListFunctions",
            "ListVersionsByFunction",
            "PublishVersion",
            "PutFunctionConcurrency",
            "UpdateAlias",
            "UpdateFunctionCode",
            "UpdateFunctionConfiguration",
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
