"""The Telemetry API and the Logs API of one environment: who subscribes reads the environment's event stream.

Served beside the Runtime API (reference/extensions-telemetry.md §4-5).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

from lambent.http.server import Exchange
from lambent.model.events import TelemetrySubscription
from lambent.worker.answers import refuse
from lambent.worker.destinations import Connect, open_destination
from lambent.worker.event_stream import EventStream
from lambent.worker.extensions import Extension, ExtensionRefused
from lambent.worker.extensions_api import ExtensionsApi
from lambent.worker.subscriber import Subscriber
from lambent.worker.subscription import Api, InvalidSubscription, Subscription, parse_subscription

PATHS: Mapping[bytes, Api] = {b"/2022-07-01/telemetry": Api.TELEMETRY, b"/2020-08-15/logs": Api.LOGS}
CHANGES_MAXIMUM = 16
"""So often extensions may replace their subscriptions: those replaced still deliver what they have."""
FLUSH_S = 0.3
"""So long the end of a generation waits for subscribers to take what they have not got."""

_INVALID = {Api.TELEMETRY: "ValidationError", Api.LOGS: "Logs.ValidationError"}


class TelemetryApi:
    """The subscribers of one environment, one generation after the other."""

    def __init__(
        self, extensions: ExtensionsApi, stream: EventStream, connect: Connect, *, has_json_lines: bool
    ) -> None:
        self._extensions = extensions
        self._stream = stream
        self._connect = connect
        self._has_json_lines = has_json_lines
        self._subscribers: dict[str, Subscriber] = {}
        self._replaced: list[Subscriber] = []
        self._is_open = True

    def handle(self, exchange: Exchange) -> None:
        api = PATHS[exchange.path]
        if exchange.method != "PUT":
            refuse(exchange, 405, "MethodNotAllowed", "Use PUT")
            return
        try:
            extension = self._extensions.identify(exchange)
            self._subscribe(extension, api, exchange.body)
        except ExtensionRefused as exc:
            refuse(exchange, 403, exc.error_type, exc.message)
        except InvalidSubscription as exc:
            refuse(exchange, 400, _INVALID[api], str(exc))
        else:
            exchange.respond(200, ((b"content-type", b"application/json"),), b'"OK"')

    def _subscribe(self, extension: Extension, api: Api, body: bytes) -> None:
        if not self._is_open:
            raise ExtensionRefused(f"{api.value}.SubscriptionClosed", f"{api.value} API subscription is closed")
        subscription = parse_subscription(api, body)
        before = self._subscribers.pop(extension.id, None)
        if before is not None and before.subscription.api is not api:
            self._subscribers[extension.id] = before
            raise InvalidSubscription(f"{extension.name} has subscribed by the {before.subscription.api.value} API")
        if before is not None and len(self._replaced) >= CHANGES_MAXIMUM:
            self._subscribers[extension.id] = before
            raise InvalidSubscription(f"subscriptions can be replaced {CHANGES_MAXIMUM} times, and have been")
        if before is not None:
            self._stream.unsubscribe(before)
            self._replaced.append(before)
        self._subscribers[extension.id] = subscriber = self._subscriber(extension, subscription)
        self._stream.subscribe(subscriber)
        self._stream.emit(
            TelemetrySubscription(
                time=time.time(),
                api=api.value,
                name=extension.name,
                state="Already subscribed" if before else "Subscribed",
                types=subscription.types,
            )
        )

    def _subscriber(self, extension: Extension, subscription: Subscription) -> Subscriber:
        return Subscriber(
            name=extension.name,
            subscription=subscription,
            destination=open_destination(subscription.destination, self._connect),
            has_json_lines=self._has_json_lines,
            log=self._stream.log,
        )

    def close_subscription(self) -> None:
        """Init is over."""
        self._is_open = False
        self._stream.close_subscription()

    async def flush(self) -> None:
        """Let subscribers have what they have not got yet, as long as there is time for it."""
        if self._subscribers:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await asyncio.gather(*(subscriber.flush() for subscriber in self._subscribers.values()))

    async def end_generation(self) -> None:
        """The subscribers are gone; others can come."""
        for subscriber in (*self._replaced, *self._subscribers.values()):
            await subscriber.close()
        self._replaced.clear()
        self._subscribers.clear()
        self._stream.begin_generation()
        self._is_open = True
