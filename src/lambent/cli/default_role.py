"""The role of functions that are deployed without one: made at the first such deploy, as AWS's console makes one."""

from __future__ import annotations

import json

from lambent.cli.connection import Server

NAME = "lambda-role"
_MAY_LOG = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
_TRUSTS_LAMBDA = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def default_role(server: Server) -> str:
    """Its ARN."""
    iam = server.client("iam")
    try:
        return str(iam.get_role(RoleName=NAME)["Role"]["Arn"])
    except iam.exceptions.NoSuchEntityException:
        made = iam.create_role(
            RoleName=NAME,
            AssumeRolePolicyDocument=json.dumps(_TRUSTS_LAMBDA),
            Description="Of functions that `lambent deploy` was given no role for",
        )
        iam.attach_role_policy(RoleName=NAME, PolicyArn=_MAY_LOG)
        return str(made["Role"]["Arn"])
