"""How what should exist lies in the store, as JSON: one place for who writes and who reads."""

from __future__ import annotations

import msgspec

from lambent.model.code_signing import CodeSigningConfig
from lambent.model.errors import PlatformError
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.function import FunctionRecord, FunctionVersion
from lambent.model.layer import LayerRecord

_encoder = msgspec.json.Encoder()
_functions = msgspec.json.Decoder(FunctionRecord)
_versions = msgspec.json.Decoder(FunctionVersion)
_layers = msgspec.json.Decoder(LayerRecord)
_mappings = msgspec.json.Decoder(EventSourceMapping)
_code_signings = msgspec.json.Decoder(CodeSigningConfig)


def encode(value: FunctionRecord | FunctionVersion | LayerRecord | EventSourceMapping | CodeSigningConfig) -> bytes:
    return _encoder.encode(value)


def decode_function(value: bytes) -> FunctionRecord:
    """Read what lies under a `function_key`.

    Raises:
        PlatformError: it is not what any Lambent up to this one wrote.
    """
    try:
        return _functions.decode(value)
    except msgspec.MsgspecError as error:
        raise _unreadable("function", value, error) from error


def decode_version(value: bytes) -> FunctionVersion:
    """Read what lies under a `version_key`; raises as `decode_function`."""
    try:
        return _versions.decode(value)
    except msgspec.MsgspecError as error:
        raise _unreadable("version", value, error) from error


def decode_layer(value: bytes) -> LayerRecord:
    """Read what lies under a `layer_key`; raises as `decode_function`."""
    try:
        return _layers.decode(value)
    except msgspec.MsgspecError as error:
        raise _unreadable("layer", value, error) from error


def decode_mapping(value: bytes) -> EventSourceMapping:
    """Read what lies under a mapping's `key`; raises as `decode_function`."""
    try:
        return _mappings.decode(value)
    except msgspec.MsgspecError as error:
        raise _unreadable("event source mapping", value, error) from error


def decode_code_signing(value: bytes) -> CodeSigningConfig:
    """Read what lies below a `config_prefix`; raises as `decode_function`."""
    try:
        return _code_signings.decode(value)
    except msgspec.MsgspecError as error:
        raise _unreadable("code signing configuration", value, error) from error


def _unreadable(kind: str, value: bytes, error: msgspec.MsgspecError) -> PlatformError:
    return PlatformError(
        f"A stored {kind} cannot be read: {error}. It begins with {value[:80]!r}. "
        "Start the Lambent that wrote it, or restore the store from a backup"
    )
