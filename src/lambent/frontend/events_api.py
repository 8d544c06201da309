"""Waiting events over HTTP, for the command line and the console: below /_lambent/events, signed as AWS's API is.

GET    events?function=NAME&after=ID&limit=N     what waits, oldest first
GET    events/ID                                 one of them, with its body
POST   events/ID/retry                           attempt it now
DELETE events/ID                                 drop it
POST   events/redrive?function=NAME              attempt all that is parked
GET    events/statistics                         how much waits, for how long, and what became of the rest
GET    events/mappings?function=NAME             what event source mappings read, and what became of it
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

import msgspec

from lambent.http.server import Exchange
from lambent.iam.authenticator import Caller
from lambent.invoke.events import Events
from lambent.invoke.waiting import Waiting, lanes_of, lanes_of_account
from lambent.model.arn import parse_function_name
from lambent.model.errors import InvalidParameterValue, ResourceNotFound, UnknownOperation
from lambent.pollers import MappingStatistics, Pollers
from lambent.ports.event_queue import ItemId

_LIMIT_MAXIMUM = 1_000
_SERVICE = "lambent"


class Authenticator(Protocol):
    def authenticate(
        self, method: str, raw_path: str, query: str, headers: dict[str, str], body: bytes, now: float
    ) -> Caller: ...

    def authorize(self, caller: Caller, service: str, operation: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    events: Sequence[Waiting]
    next_after: ItemId | None
    """Give it as `after` to go on; None: that was all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    event: Waiting
    body: str
    """The event's payload, or what is sent to the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    redriven: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingPage:
    mappings: Sequence[MappingStatistics]


class EventsApi:
    def __init__(self, events: Events, pollers: Pollers, authenticator: Authenticator) -> None:
        self._events = events
        self._pollers = pollers
        self._authenticator = authenticator

    async def answer(self, exchange: Exchange) -> bytes:
        """The answer to one request, as JSON.

        Raises:
            ApiError: the caller may not, or asked for something that there is not.
        """
        path, query = exchange.path.decode("latin-1"), exchange.query.decode("latin-1")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers}
        caller = self._authenticator.authenticate(exchange.method, path, query, headers, exchange.body, time.time())
        parameters = {name: values[-1] for name, values in parse_qs(query).items()}
        match exchange.method, path.split("/")[3:]:
            case (("GET" | "HEAD"), []):
                return self._encode(await self._list(self._lanes(caller, "ListEvents", parameters), parameters))
            case (("GET" | "HEAD"), ["statistics"]):
                self._authenticator.authorize(caller, _SERVICE, "GetEventStatistics")
                return self._encode(await self._events.statistics())
            case (("GET" | "HEAD"), ["mappings"]):
                return self._encode(self._mappings(caller, parameters))
            case "POST", ["redrive"]:
                lanes = self._lanes(caller, "RedriveEvents", parameters)
                return self._encode(Redriven(redriven=await self._events.waiting.redrive(lanes)))
            case (("GET" | "HEAD"), [item]):
                return self._encode(await self._show(self._lanes(caller, "GetEvent", {}), item))
            case "POST", [item, "retry"]:
                lanes = self._lanes(caller, "RetryEvent", {})
                return self._steered(item, await self._events.waiting.retry(lanes, _item(item)))
            case "DELETE", [item]:
                lanes = self._lanes(caller, "DropEvent", {})
                return self._steered(item, await self._events.waiting.drop(lanes, _item(item)))
        raise UnknownOperation(f"No such operation: {exchange.method} {path}")

    def _lanes(self, caller: Caller, operation: str, parameters: dict[str, str]) -> Sequence[str]:
        """Whose events the caller may see: its own account's, or one function's."""
        self._authenticator.authorize(caller, _SERVICE, operation)
        if "function" not in parameters:
            return lanes_of_account(caller.region, caller.account)
        function = parse_function_name(parameters["function"], region=caller.region, account=caller.account)
        return lanes_of(function.unqualified) if function.account == caller.account else ()

    def _mappings(self, caller: Caller, parameters: dict[str, str]) -> MappingPage:
        self._authenticator.authorize(caller, _SERVICE, "ListMappingStatistics")
        function = None
        if "function" in parameters:
            name = parse_function_name(parameters["function"], region=caller.region, account=caller.account)
            function = name.unqualified
        return MappingPage(mappings=self._pollers.statistics(caller.region, caller.account, function))

    async def _list(self, lanes: Sequence[str], parameters: dict[str, str]) -> EventPage:
        limit = min(int(_item(parameters.get("limit", "100"))), _LIMIT_MAXIMUM)
        found = await self._events.waiting.list(lanes, after=_item(parameters.get("after", "0")), limit=limit)
        return EventPage(events=found, next_after=found[-1].id if len(found) == limit > 0 else None)

    async def _show(self, lanes: Sequence[str], item: str) -> EventDetail:
        found = await self._events.waiting.show(lanes, _item(item))
        if found is None:
            raise _not_waiting(item)
        return EventDetail(event=found[0], body=found[1].decode(errors="replace"))

    def _steered(self, item: str, is_done: bool) -> bytes:
        if not is_done:
            raise _not_waiting(item)
        return self._encode({"id": _item(item)})

    def _encode(self, document: object) -> bytes:
        return msgspec.json.encode(document)


def _item(text: str) -> ItemId:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidParameterValue(f"Ids and limits are whole numbers; found {text!r}")
    return ItemId(int(text))


def _not_waiting(item: str) -> ResourceNotFound:
    return ResourceNotFound(f"No event of id {item} waits; one that is running cannot be steered")
