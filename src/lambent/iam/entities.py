"""The roles and managed policies that exist, in the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from lambent.iam import managed
from lambent.iam.errors import ConcurrentModification, NoSuchEntity
from lambent.iam.identifiers import EntityArn
from lambent.model.errors import PlatformError
from lambent.model.iam import PolicyRecord, RoleRecord, policy_key, role_key
from lambent.ports.store import ABSENT, Entry, Revision, RevisionMismatch, Store

Record = TypeVar("Record", RoleRecord, PolicyRecord)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Found(Generic[Record]):
    """A record with the revision that its next write must expect."""

    record: Record
    revision: Revision


class Entities:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.changing = asyncio.Lock()
        """Held from reading to writing: what attaches a policy and what deletes it must not pass each other."""

    # Roles

    async def role(self, account: str, name: str) -> Found[RoleRecord] | None:
        entry = await self._store.get(role_key(account, name))
        return _found(entry, RoleRecord) if entry else None

    async def find_role(self, account: str, name: str) -> Found[RoleRecord]:
        """The role of that name. Raises NoSuchEntity: there is none."""
        found = await self.role(account, name)
        if found is None:
            raise NoSuchEntity(f"The role with name {name} cannot be found.")
        return found

    async def role_by_arn(self, arn: EntityArn) -> RoleRecord | None:
        found = await self.role(arn.account, arn.name)
        is_it = found is not None and (found.record.path, found.record.name) == (arn.path, arn.name)
        return found.record if found is not None and is_it else None

    async def roles(self, account: str) -> Sequence[RoleRecord]:
        """All roles of an account, in order of their names."""
        return [_found(entry, RoleRecord).record for entry in await self._entries(role_key(account, ""))]

    async def put_role(self, role: RoleRecord, expected: Revision = ABSENT) -> None:
        """Write a role that was read at `expected`, or a new one. Raises ConcurrentModification."""
        await self._put(role_key(role.account, role.name), role, expected)

    async def remove_role(self, found: Found[RoleRecord]) -> None:
        await self._store.delete(role_key(found.record.account, found.record.name), expected=found.revision)

    # Managed policies

    async def policy(self, arn: EntityArn) -> Found[PolicyRecord] | None:
        """The policy of that ARN: a customer's, or one of AWS's."""
        if arn.account == managed.ACCOUNT:
            record = managed.POLICIES.get(arn.path + arn.name)
            return Found(record, ABSENT) if record else None
        entry = await self._store.get(policy_key(arn.account, arn.name))
        found = _found(entry, PolicyRecord) if entry else None
        is_it = found is not None and (found.record.path, found.record.name) == (arn.path, arn.name)
        return found if is_it else None

    async def policy_named(self, account: str, name: str) -> Found[PolicyRecord] | None:
        entry = await self._store.get(policy_key(account, name))
        return _found(entry, PolicyRecord) if entry else None

    async def policies(self, account: str) -> Sequence[PolicyRecord]:
        """All customer-managed policies of an account, in order of their names."""
        return [_found(entry, PolicyRecord).record for entry in await self._entries(policy_key(account, ""))]

    async def put_policy(self, policy: PolicyRecord, expected: Revision = ABSENT) -> None:
        """As `put_role`."""
        await self._put(policy_key(policy.account, policy.name), policy, expected)

    async def remove_policy(self, found: Found[PolicyRecord]) -> None:
        await self._store.delete(policy_key(found.record.account, found.record.name), expected=found.revision)

    async def usage(self, account: str) -> tuple[Counter[str], Counter[str]]:
        """How many roles of an account have each policy attached, and as their permissions boundary."""
        attached: Counter[str] = Counter()
        boundaries: Counter[str] = Counter()
        for role in await self.roles(account):
            attached.update(role.attached_policies)
            if role.permissions_boundary is not None:
                boundaries[role.permissions_boundary] += 1
        return attached, boundaries

    async def _entries(self, prefix: str) -> Sequence[Entry]:
        entries: list[Entry] = []
        while page := await self._store.scan(prefix, after=entries[-1].key if entries else ""):
            entries.extend(page)
        return entries

    async def _put(self, key: str, record: RoleRecord | PolicyRecord, expected: Revision) -> None:
        try:
            await self._store.put(key, _encode(record), expected=expected)
        except RevisionMismatch as error:
            raise ConcurrentModification(
                "The request was rejected because multiple requests to change this object were submitted "
                "simultaneously."
            ) from error


def _found(entry: Entry, kind: type[Record]) -> Found[Record]:
    try:
        return Found(msgspec.json.decode(entry.value, type=kind), entry.revision)
    except msgspec.MsgspecError as error:
        raise PlatformError(
            f"What is stored under {entry.key} cannot be read: {error}. "
            "Start the Lambent that wrote it, or restore the store from a backup"
        ) from error
