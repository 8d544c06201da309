"""The extensions of one generation: who is registered for what, and who still owes a `next`. Pure.

Theory. An extension is external (a process of its own, from /opt/extensions, known by its file's name before it has
said a word) or internal (whoever else registers: it lives in the runtime's process). Each stands in one row of
TRANSITIONS. Those who have registered but not asked for their first event hold up Init, those who have been given an
INVOKE hold up the Invoke: both are `working`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from uuid import uuid4

EXTENSIONS_MAXIMUM = 10

INTERNAL_SHUTDOWN_S = 0.5
EXTERNAL_SHUTDOWN_S = 2.0


class ExtensionState(StrEnum):
    """In AWS's words, as the EXTENSION line shows them."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    LAUNCH_ERROR = "LaunchError"
    EXITED = "Exited"


class Step(Enum):
    """What can happen to an extension; the value is the state it wants to reach, as AWS names it in a refusal."""

    REGISTER = "Registered"
    ASK_NEXT = "Ready"
    DELIVER = "Running"
    REPORT_INIT_ERROR = "InitError"
    REPORT_EXIT_ERROR = "ExitError"
    FAIL_LAUNCH = "LaunchError"
    EXIT = "Exited"


TRANSITIONS: Mapping[tuple[ExtensionState, Step], ExtensionState] = {
    (ExtensionState.STARTED, Step.REGISTER): ExtensionState.REGISTERED,
    (ExtensionState.STARTED, Step.FAIL_LAUNCH): ExtensionState.LAUNCH_ERROR,
    (ExtensionState.STARTED, Step.EXIT): ExtensionState.EXITED,
    (ExtensionState.REGISTERED, Step.ASK_NEXT): ExtensionState.READY,
    (ExtensionState.REGISTERED, Step.REPORT_INIT_ERROR): ExtensionState.INIT_ERROR,
    (ExtensionState.REGISTERED, Step.REPORT_EXIT_ERROR): ExtensionState.EXIT_ERROR,
    (ExtensionState.REGISTERED, Step.EXIT): ExtensionState.EXITED,
    (ExtensionState.READY, Step.ASK_NEXT): ExtensionState.READY,  # again, over a new connection
    (ExtensionState.READY, Step.DELIVER): ExtensionState.RUNNING,
    (ExtensionState.READY, Step.REPORT_EXIT_ERROR): ExtensionState.EXIT_ERROR,
    (ExtensionState.READY, Step.EXIT): ExtensionState.EXITED,
    (ExtensionState.RUNNING, Step.ASK_NEXT): ExtensionState.READY,
    (ExtensionState.RUNNING, Step.REPORT_EXIT_ERROR): ExtensionState.EXIT_ERROR,
    (ExtensionState.RUNNING, Step.EXIT): ExtensionState.EXITED,
    (ExtensionState.INIT_ERROR, Step.EXIT): ExtensionState.INIT_ERROR,
    (ExtensionState.EXIT_ERROR, Step.EXIT): ExtensionState.EXIT_ERROR,
    (ExtensionState.LAUNCH_ERROR, Step.EXIT): ExtensionState.LAUNCH_ERROR,
    (ExtensionState.EXITED, Step.EXIT): ExtensionState.EXITED,
}

_WORKING = (ExtensionState.REGISTERED, ExtensionState.RUNNING)
_UNREGISTERED = (ExtensionState.STARTED, ExtensionState.LAUNCH_ERROR)
_ALIVE = (ExtensionState.REGISTERED, ExtensionState.READY, ExtensionState.RUNNING)


class ExtensionRefused(Exception):
    """An extension asked for what it may not have; in the words of the Extensions API."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message


class LifecycleEvent(StrEnum):
    """What an extension can be registered for."""

    INVOKE = "INVOKE"
    SHUTDOWN = "SHUTDOWN"


@dataclass(slots=True, kw_only=True)
class Extension:
    name: str
    is_external: bool
    id: str = field(default_factory=lambda: str(uuid4()))
    state: ExtensionState = ExtensionState.STARTED
    events: tuple[LifecycleEvent, ...] = ()
    error_type: str | None = None


class Roster:
    """All extensions of one generation. `external` are the names of the files in /opt/extensions, in order."""

    def __init__(self, external: Iterable[str]) -> None:
        self._by_id: dict[str, Extension] = {}
        self._by_name: dict[str, Extension] = {}
        self._is_open = True
        self.working: set[str] = set()
        """Ids of those who hold up the phase: they owe a `next`."""
        for position, name in enumerate(external):
            extension = self._add(Extension(name=name, is_external=True))
            if position >= EXTENSIONS_MAXIMUM:
                self.take(extension, Step.FAIL_LAUNCH, "TooManyExtensions")

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Extension]:
        return iter(self._by_id.values())

    @property
    def is_registered(self) -> bool:
        """Every external extension has registered: the runtime may start."""
        return all(one.state is not ExtensionState.STARTED for one in self)

    @property
    def has_external(self) -> bool:
        return any(one.is_external for one in self)

    @property
    def shutdown_s(self) -> float:
        """How long the end of the generation may take: nothing, where nobody has registered to see it."""
        if all(one.state in _UNREGISTERED for one in self):
            return 0.0
        return EXTERNAL_SHUTDOWN_S if self.has_external else INTERNAL_SHUTDOWN_S

    def find(self, identifier: str) -> Extension:
        """The extension with this id.

        Raises:
            ExtensionRefused: there is none.
        """
        found = self._by_id.get(identifier)
        if found is None:
            raise ExtensionRefused("Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}")
        return found

    def external(self, name: str) -> Extension:
        return self._by_name[name]

    def register(self, name: str, events: Sequence[str]) -> Extension:
        """Take in an external extension by its file's name, or an internal one by any other.

        Raises:
            ExtensionRefused: too late, too many, twice, or for events that there are not.
        """
        extension = self._by_name.get(name)
        wanted = _checked(events, is_external=extension is not None and extension.is_external)
        if extension is None:
            extension = self._admit(name)
        elif not extension.is_external:
            raise ExtensionRefused("Extension.InvalidExtensionState", "Extension with this name already registered")
        self.take(extension, Step.REGISTER)
        extension.events = wanted
        return extension

    def close_registration(self) -> None:
        """The runtime has asked for its first event: who is not registered now never will be."""
        self._is_open = False

    def take(self, extension: Extension, step: Step, error_type: str | None = None) -> None:
        """Let something happen to an extension.

        Raises:
            ExtensionRefused: it cannot happen in its state; nothing has changed.
        """
        after = TRANSITIONS.get((extension.state, step))
        if after is None:
            text = f"State transition from {extension.state} to {step.value} failed for extension {extension.name}."
            error = "State transition is not allowed"
            raise ExtensionRefused("Extension.InvalidExtensionState", f"{text} Error: {error}")
        extension.state = after
        extension.error_type = error_type or extension.error_type
        if after in _WORKING:
            self.working.add(extension.id)
        else:
            self.working.discard(extension.id)

    def invoked(self) -> list[Extension]:
        """Those who are to get the INVOKE event, and who from now on owe a `next`."""
        ready = [one for one in self._subscribed(LifecycleEvent.INVOKE) if one.state is ExtensionState.READY]
        for extension in ready:
            self.take(extension, Step.DELIVER)
        return ready

    def to_shut_down(self) -> list[Extension]:
        """Those who are to get the SHUTDOWN event."""
        return [one for one in self._subscribed(LifecycleEvent.SHUTDOWN) if one.state in _ALIVE]

    def _subscribed(self, event: LifecycleEvent) -> list[Extension]:
        return [one for one in self if event in one.events]

    def _admit(self, name: str) -> Extension:
        if not self._is_open:
            raise ExtensionRefused("Extension.RegistrationClosed", "Extension registration closed already")
        if len(self._by_id) >= EXTENSIONS_MAXIMUM:
            raise ExtensionRefused("Extension.TooManyExtensions", f"Extension limit ({EXTENSIONS_MAXIMUM}) reached")
        return self._add(Extension(name=name, is_external=False))

    def _add(self, extension: Extension) -> Extension:
        self._by_id[extension.id] = self._by_name[extension.name] = extension
        return extension


def _checked(events: Sequence[str], *, is_external: bool) -> tuple[LifecycleEvent, ...]:
    for event in events:
        if event not in LifecycleEvent.__members__:
            raise ExtensionRefused("Extension.InvalidEventType", f"{event}: Unknown event type")
        if event == LifecycleEvent.SHUTDOWN and not is_external:
            text = "ShutdownEventNotSupportedForInternalExtension"
            raise ExtensionRefused("Extension.InvalidEventType", f"{event}: {text}")
    return tuple(LifecycleEvent(event) for event in dict.fromkeys(events))
