"""The control plane joined together: every operation that is built, by AWS's name."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Self

from lambent.control.account import Account
from lambent.control.activation import Activate, Activations
from lambent.control.alias_moves import AliasMoves
from lambent.control.aliases import Aliases
from lambent.control.catalogue import Catalogue
from lambent.control.code_signing import CodeSigning
from lambent.control.code_signing_configs import CodeSigningConfigs
from lambent.control.concurrency import Concurrency
from lambent.control.event_invoke import EventInvokeConfigs
from lambent.control.event_source_mappings import EventSourceMappings
from lambent.control.function_layers import FunctionLayers
from lambent.control.function_urls import FunctionUrls
from lambent.control.functions import Functions
from lambent.control.layer_catalogue import LayerCatalogue
from lambent.control.layer_permissions import LayerPermissions
from lambent.control.layers import Layers
from lambent.control.listing import Listing
from lambent.control.mapping_catalogue import MappingCatalogue
from lambent.control.mapping_tags import MappingTags
from lambent.control.operation import Family, Operation
from lambent.control.packages import Packages
from lambent.control.permissions import Permissions
from lambent.control.policies import Policies
from lambent.control.provisioned import AllocationOf, ProvisionedConcurrencyConfigs
from lambent.control.recursion import Recursion
from lambent.control.resource_policies import ResourcePolicies
from lambent.control.runtime_management import RuntimeManagements
from lambent.control.signing_catalogue import SigningCatalogue
from lambent.control.stamps import Stamps
from lambent.control.tags import FunctionTags, Tags
from lambent.control.usage import Ledger
from lambent.control.versions import Versions
from lambent.model import limits
from lambent.model.function import FunctionRecord
from lambent.model.provisioned import Allocation
from lambent.ports.blobs import Blobs
from lambent.ports.code_source import CodeSource
from lambent.ports.event_sources import EventSources
from lambent.ports.roles import Roles
from lambent.ports.snapshots import Snapshots
from lambent.ports.store import Store


class Control:
    """What should exist. Entering it resumes what an earlier process began with the functions that it was told of.

    `activate` makes a version's code ready to run, in the background of each create and update; for the other
    callables see `Functions`. `allocation` says how far provisioned concurrency has come. Without `snapshots` SnapStart
    is refused.
    """

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        code_source: CodeSource,
        event_sources: EventSources,
        roles: Roles,
        activate: Activate,
        presign: Callable[[str], str],
        runtimes: Sequence[str],
        runtime_warning: Callable[[str], str | None],
        architectures: Sequence[str] = ("x86_64",),
        concurrency: int = limits.ACCOUNT_CONCURRENCY,
        code_storage_bytes: int = limits.CODE_STORAGE_BYTES,
        allocation: AllocationOf = lambda function: Allocation(),
        snapshots: Snapshots | None = None,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        stamps, ledger = Stamps(now=now, new_id=new_id), Ledger()
        packages = Packages(blobs, code_source, ledger)
        account = Account(ledger, concurrency=concurrency, code_storage_bytes=code_storage_bytes)
        self._catalogue = Catalogue(store, ledger, packages)
        self._layers = LayerCatalogue(store, ledger, packages, self._catalogue.changing)
        self._activations = Activations(
            self._catalogue, activate, stamps, snapshots.snapshot if snapshots is not None else None
        )
        self._moves = AliasMoves(self._catalogue, allocation, stamps)
        self._moving: list[FunctionRecord] = []
        self._mappings = MappingCatalogue(store)
        signings = SigningCatalogue(store)
        signing = CodeSigning(self._catalogue, signings)
        signing_configs = CodeSigningConfigs(self._catalogue, signings, stamps)
        policies = Policies(self._catalogue, stamps)
        families: Sequence[Family] = (
            Functions(
                self._catalogue,
                packages,
                account,
                self._activations,
                FunctionLayers(self._layers),
                signing,
                stamps,
                roles=roles,
                runtimes=runtimes,
                architectures=architectures,
                presign=presign,
                runtime_warning=runtime_warning,
                snapshots=snapshots,
            ),
            Listing(self._catalogue),
            Versions(self._catalogue, account, self._activations, stamps),
            Aliases(self._catalogue, self._moves, stamps),
            Layers(self._layers, packages, account, stamps, presign=presign),
            LayerPermissions(self._layers, stamps),
            account,
            Concurrency(self._catalogue, account),
            ProvisionedConcurrencyConfigs(self._catalogue, account, stamps, allocation),
            EventInvokeConfigs(self._catalogue, stamps),
            Recursion(self._catalogue),
            EventSourceMappings(self._catalogue, self._mappings, event_sources, stamps),
            signing,
            signing_configs,
            RuntimeManagements(self._catalogue),
            FunctionUrls(self._catalogue, stamps),
            Permissions(policies),
            ResourcePolicies(policies),
            Tags(
                {
                    "function": FunctionTags(self._catalogue),
                    "event-source-mapping": MappingTags(self._mappings),
                    "code-signing-config": signing_configs,
                }
            ),
        )
        self.operations: Mapping[str, Operation] = dict(
            chain.from_iterable(family.operations.items() for family in families)
        )

    def begin(self, record: FunctionRecord) -> None:
        """Tell of a function that was there before; all of them before it is entered."""
        self._catalogue.begin(record)
        if any(alias.is_moving for alias in record.aliases.values()):
            self._moving.append(record)

    async def __aenter__(self) -> Self:
        await self._layers.load()
        await self._mappings.load()
        under_way = await self._catalogue.load()
        await self._activations.__aenter__()
        for record in under_way:
            self._activations.begin(record)
        for version in self._catalogue.unfinished:
            self._activations.begin_snapshot(version)
        await self._moves.__aenter__()
        for record in self._moving:
            self._moves.begin(record)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._moves.__aexit__(kind, error, traceback)
        await self._activations.__aexit__(kind, error, traceback)
