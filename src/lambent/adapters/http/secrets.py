"""Secrets of event sources: from files that the operator has named, else from Secrets Manager at its endpoint."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lambent.adapters.http.aws_services import AwsServices, JsonProtocol, Refused, Unreachable

_SECRETS_MANAGER = JsonProtocol(version="1.1", prefix="secretsmanager")
_OPTION = "start it with --secret NAME=FILE or --endpoint secretsmanager=URL"


class SecretUnavailable(Exception):
    """The message says what to do about it, and holds nothing of a secret."""


class _Value(msgspec.Struct, rename="pascal"):
    secret_string: str


class Secrets:
    """A secret is a JSON object of texts, as AWS's are. `files` are by the secret's name or ARN, and read each time."""

    def __init__(self, files: Mapping[str, Path], services: AwsServices) -> None:
        self._files = files
        self._services = services

    async def read(self, arn: str) -> Mapping[str, str]:
        """The members of the secret of this ARN or name.

        Raises:
            SecretUnavailable: it is not to be had, or is no such object.
        """
        file = next((self._files[name] for name in _names(arn) if name in self._files), None)
        text = await self._of_service(arn) if file is None else await _of_file(arn, file)
        try:
            return msgspec.json.decode(text, type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SecretUnavailable(f"The secret {arn} is not a JSON object of texts") from None

    async def _of_service(self, arn: str) -> str:
        if not arn.startswith("arn:") or self._services.endpoint("secretsmanager") is None:
            raise SecretUnavailable(f"Lambent does not have the secret {arn}: {_OPTION}")
        try:
            answer = await self._services.ask(arn, _SECRETS_MANAGER, "GetSecretValue", {"SecretId": arn}, _Value)
        except Unreachable as error:
            raise SecretUnavailable(f"The secret {arn} could not be asked for: {error}") from error
        except Refused as error:
            raise SecretUnavailable(f"The secret {arn} was refused: {error.code}: {error.message}") from error
        return answer.secret_string


async def _of_file(arn: str, file: Path) -> bytes:
    try:
        return await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        raise SecretUnavailable(f"The file {file} of the secret {arn} cannot be read: {error.strerror}") from error


def _names(arn: str) -> tuple[str, ...]:
    """By what an operator may call it: its ARN, its name, its name without the six letters that AWS adds."""
    name = arn.partition(":secret:")[2] or arn
    return arn, name, re.sub(r"-[A-Za-z0-9]{6}$", "", name)
