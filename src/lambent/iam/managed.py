"""The policies of AWS's own that functions and their deployers usually attach, written down anew.

They say what AWS's documentation says that each of them allows; any other policy of AWS's can be attached by its ARN.
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from lambent.iam.identifiers import POLICY, derived_id
from lambent.model.iam import PolicyRecord, PolicyVersion

ACCOUNT = "aws"
_WRITTEN_S = 1_795_219_200
"""21 November 2026: when these documents were written."""

_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")

_ALLOWED: Mapping[str, Sequence[str]] = {
    "/service-role/AWSLambdaBasicExecutionRole": _LOGS,
    "/service-role/AWSLambdaBasicDurableExecutionRolePolicy": (
        *_LOGS,
        "lambda:CheckpointDurableExecution",
        "lambda:GetDurableExecutionState",
    ),
    "/service-role/AWSLambdaVPCAccessExecutionRole": (
        *_LOGS,
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ),
    "/service-role/AWSLambdaSQSQueueExecutionRole": (
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        *_LOGS,
    ),
    "/service-role/AWSLambdaKinesisExecutionRole": (
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
        "kinesis:ListStreams",
        "kinesis:SubscribeToShard",
        *_LOGS,
    ),
    "/service-role/AWSLambdaDynamoDBExecutionRole": (
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        *_LOGS,
    ),
    "/service-role/AWSLambdaMSKExecutionRole": (
        "kafka:DescribeCluster",
        "kafka:DescribeClusterV2",
        "kafka:GetBootstrapBrokers",
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeVpcs",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeSubnets",
        "ec2:DescribeSecurityGroups",
        *_LOGS,
    ),
    "/service-role/AWSLambdaRole": ("lambda:InvokeFunction",),
    "/AWSLambdaExecute": ("logs:*", "s3:GetObject", "s3:PutObject"),
    "/AWSLambdaInvocation-DynamoDB": (
        "lambda:InvokeFunction",
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
    ),
    "/AWSXRayDaemonWriteAccess": (
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:GetSamplingStatisticSummaries",
    ),
    "/CloudWatchLambdaInsightsExecutionRolePolicy": _LOGS,
    "/AWSLambda_FullAccess": (
        "lambda:*",
        "cloudformation:DescribeStacks",
        "cloudformation:ListStackResources",
        "cloudwatch:ListMetrics",
        "cloudwatch:GetMetricData",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
        "kms:ListAliases",
        "iam:GetPolicy",
        "iam:GetPolicyVersion",
        "iam:GetRole",
        "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies",
        "iam:ListRolePolicies",
        "iam:ListRoles",
        "iam:PassRole",
        "logs:DescribeLogGroups",
        "logs:DescribeLogStreams",
        "logs:FilterLogEvents",
        "logs:StartLiveTail",
        "logs:StopLiveTail",
        "states:DescribeStateMachine",
        "states:ListStateMachines",
        "tag:GetResources",
        "xray:GetTraceSummaries",
        "xray:BatchGetTraces",
    ),
    "/AWSLambda_ReadOnlyAccess": (
        "lambda:Get*",
        "lambda:List*",
        "cloudformation:DescribeStacks",
        "cloudformation:ListStackResources",
        "cloudwatch:ListMetrics",
        "cloudwatch:GetMetricData",
        "kms:ListAliases",
        "iam:GetPolicy",
        "iam:GetPolicyVersion",
        "iam:GetRole",
        "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies",
        "iam:ListRolePolicies",
        "iam:ListRoles",
        "logs:DescribeLogGroups",
        "logs:DescribeLogStreams",
        "logs:FilterLogEvents",
        "logs:StartLiveTail",
        "logs:StopLiveTail",
        "states:DescribeStateMachine",
        "states:ListStateMachines",
        "tag:GetResources",
        "xray:GetTraceSummaries",
        "xray:BatchGetTraces",
    ),
    "/AdministratorAccess": ("*",),
    "/AmazonDynamoDBFullAccess": ("dynamodb:*",),
    "/AmazonDynamoDBReadOnlyAccess": (
        "dynamodb:BatchGetItem",
        "dynamodb:Describe*",
        "dynamodb:GetItem",
        "dynamodb:List*",
        "dynamodb:PartiQLSelect",
        "dynamodb:Query",
        "dynamodb:Scan",
    ),
    "/AmazonS3FullAccess": ("s3:*", "s3-object-lambda:*"),
    "/AmazonS3ReadOnlyAccess": (
        "s3:Get*",
        "s3:List*",
        "s3:Describe*",
        "s3-object-lambda:Get*",
        "s3-object-lambda:List*",
    ),
    "/AmazonSNSFullAccess": ("sns:*",),
    "/AmazonSQSFullAccess": ("sqs:*",),
    "/CloudWatchLogsFullAccess": ("logs:*",),
}
"""What each policy allows on every resource, by its path and name."""

_RESOURCES: Mapping[str, str | Sequence[str]] = {
    "/CloudWatchLambdaInsightsExecutionRolePolicy": "arn:aws:logs:*:*:log-group:/aws/lambda-insights:*",
    "/AWSLambdaExecute": ("arn:aws:logs:*:*:*", "arn:aws:s3:::*"),
}
"""Those that are not about every resource."""


def _policy(full_name: str, actions: Sequence[str]) -> PolicyRecord:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": _RESOURCES.get(full_name, "*")}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)
    path, _, name = full_name.rpartition("/")
    return PolicyRecord(
        account=ACCOUNT,
        name=name,
        path=path + "/",
        policy_id=derived_id(POLICY, full_name),
        created_s=_WRITTEN_S,
        updated_s=_WRITTEN_S,
        versions={1: PolicyVersion(document=document, created_s=_WRITTEN_S)},
    )


POLICIES: Mapping[str, PolicyRecord] = {name: _policy(name, actions) for name, actions in _ALLOWED.items()}
"""By path and name."""
