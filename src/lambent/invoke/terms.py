"""What a function's owner has said about its asynchronous invokes, by qualifier: retries, destinations, dead letters.

Cached until the store says that the function has changed, so that a delivery reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from lambent.invoke.resolve import serving
from lambent.invoke.retry import RetryPolicy
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.errors import ResourceNotFound
from lambent.model.event_invoke import EVENT_AGE_S_DEFAULT, RETRY_ATTEMPTS_DEFAULT, EventInvokeConfig
from lambent.model.function import FunctionRecord, RecursiveLoop, function_key, version_key
from lambent.model.records import decode_function, decode_version
from lambent.ports.store import Store

_NOTHING_SAID = EventInvokeConfig(last_modified_s=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Targets are ARNs. `is_switched_off`: its reserved concurrency is zero."""

    policy: RetryPolicy
    on_success: str | None = None
    on_failure: str | None = None
    dead_letter: str | None = None
    is_switched_off: bool = False
    may_loop: bool = False


class TermsReader:
    """Reads the terms that hold for events of a (perhaps qualified) function."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[FunctionArn, dict[str, Terms]] = {}

    def forget(self, key: str) -> None:
        """Called for each change below `function/`."""
        _, account, region, name = key.split("/")
        self._cache.pop(FunctionArn(region, account, name), None)

    async def of(self, function: FunctionArn) -> Terms:
        """Raises ResourceNotFound where there is no such function."""
        qualifier = function.qualifier or LATEST
        found = self._cache.get(function.unqualified, {}).get(qualifier)
        if found is not None:
            return found
        entry = await self._store.get(function_key(function.account, function.region, function.name))
        if entry is None:
            raise ResourceNotFound(f"Function not found: {function.qualified(qualifier)}")
        terms = await self._read(decode_function(entry.value), qualifier)
        self._cache.setdefault(function.unqualified, {})[qualifier] = terms
        return terms

    async def _read(self, record: FunctionRecord, qualifier: str) -> Terms:
        said = record.event_invoke_configs.get(qualifier, _NOTHING_SAID)
        return Terms(
            policy=RetryPolicy(
                maximum_retry_attempts=_or(said.maximum_retry_attempts, RETRY_ATTEMPTS_DEFAULT),
                maximum_event_age_s=_or(said.maximum_event_age_s, EVENT_AGE_S_DEFAULT),
            ),
            on_success=said.on_success,
            on_failure=said.on_failure,
            dead_letter=await self._dead_letter(record, qualifier),
            is_switched_off=record.reserved_concurrency == 0,
            may_loop=record.recursive_loop is RecursiveLoop.ALLOW,
        )

    async def _dead_letter(self, record: FunctionRecord, qualifier: str) -> str | None:
        """A setting of the version; those that an alias is split between have the same one."""
        alias = record.aliases.get(qualifier)
        version = alias.function_version if alias is not None else qualifier
        if version == LATEST:
            return serving(record).dead_letter_target_arn
        if not version.isdigit() or int(version) not in record.versions:
            return None
        latest = record.latest
        entry = await self._store.get(version_key(latest.account, latest.region, latest.name, int(version)))
        return decode_version(entry.value).dead_letter_target_arn if entry is not None else None


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
