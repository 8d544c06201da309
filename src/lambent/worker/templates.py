"""The templates of versions with SnapStart: one each, made when the version is published.

A template is an environment that no invoke comes to: after Init its runtime waits to be forked from. It lives as long
as its version; after a restart of the server, or when it has died, the next environment wanted has it made anew.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass

from lambent.model.arn import FunctionArn
from lambent.model.errors import FunctionError, PlatformError
from lambent.model.function import FunctionVersion
from lambent.model.invocation import EnvironmentId
from lambent.worker.variables import ContainerToken

_Key = tuple[FunctionArn, str, str]


@dataclass(slots=True)
class Template:
    """One template; `ready` ends when it can be forked from, or with the reason why it cannot."""

    version: FunctionVersion
    environment_id: EnvironmentId
    token: ContainerToken
    ready: asyncio.Future[None]


class Templates:
    """`start` begins the Init of a template, `stop` its end."""

    def __init__(
        self,
        start: Callable[[FunctionVersion, ContainerToken], EnvironmentId],
        stop: Callable[[EnvironmentId], None],
    ) -> None:
        self._start = start
        self._stop = stop
        self._templates: dict[_Key, Template] = {}

    async def ready(self, version: FunctionVersion) -> Template:
        """The version's template, made now if there is none.

        Raises:
            FunctionError: its Init has failed.
            PlatformError: it could not be made.
        """
        template = self._templates.get(_key(version)) or self._make(version)
        await asyncio.shield(template.ready)
        return template

    def _make(self, version: FunctionVersion) -> Template:
        ready = asyncio.get_running_loop().create_future()
        token = ContainerToken(secrets.token_urlsafe(32))
        template = Template(version, self._start(version, token), token, ready)
        self._templates[_key(version)] = template
        return template

    def retain(self, function: FunctionArn, versions: Collection[str]) -> None:
        """Let go of all templates of an unqualified function but those of some of its versions."""
        for template in list(self._templates.values()):
            version = template.version
            if version.arn == function and version.version not in versions:
                self._stop(template.environment_id)
                self.gone(template.environment_id, None)

    def made(self, environment_id: EnvironmentId) -> None:
        """It can be forked from."""
        template = self._of(environment_id)
        if template is not None and not template.ready.done():
            template.ready.set_result(None)

    def gone(self, environment_id: EnvironmentId, failure: FunctionError | PlatformError | None) -> None:
        """It exists no more; `failure` says why, where it never came to be ready."""
        template = self._of(environment_id)
        if template is None:
            return
        del self._templates[_key(template.version)]
        if not template.ready.done():
            template.ready.set_exception(failure or PlatformError("the template was let go before it was ready"))
            template.ready.exception()  # known to be told, even if nobody waits any more

    def _of(self, environment_id: EnvironmentId) -> Template | None:
        return next((one for one in self._templates.values() if one.environment_id == environment_id), None)


def _key(version: FunctionVersion) -> _Key:
    """A version may be made anew under the same number, after its function was."""
    return version.qualified_arn, version.last_modified, version.code_sha256
