"""The operations that are built, by service. What is not in here is refused by name (docs/compatibility.md)."""

from __future__ import annotations

from collections.abc import Mapping

IMPLEMENTED: Mapping[str, frozenset[str]] = {
    "lambda": frozenset(
        (
            "AddLayerVersionPermission",
            "AddPermission",
            "CreateAlias",
            "CreateFunction",
            "DeleteAlias",
            "DeleteFunction",
            "DeleteFunctionConcurrency",
            "DeleteFunctionEventInvokeConfig",
            "DeleteLayerVersion",
            "DeleteResourcePolicy",
            "GetAccountSettings",
            "GetAlias",
            "GetFunction",
            "GetFunctionConcurrency",
            "GetFunctionConfiguration",
            "GetFunctionEventInvokeConfig",
            "GetFunctionRecursionConfig",
            "GetLayerVersion",
            "GetLayerVersionByArn",
            "GetLayerVersionPolicy",
            "GetPolicy",
            "GetResourcePolicy",
            "Invoke",
            "InvokeWithResponseStream",
            "ListAliases",
            "ListFunctionEventInvokeConfigs",
            "ListFunctions",
            "ListLayerVersions",
            "ListLayers",
            "ListTags",
            "ListVersionsByFunction",
            "PublishLayerVersion",
            "PublishVersion",
            "PutFunctionConcurrency",
            "PutFunctionEventInvokeConfig",
            "PutFunctionRecursionConfig",
            "PutResourcePolicy",
            "RemoveLayerVersionPermission",
            "RemovePermission",
            "TagResource",
            "UntagResource",
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
