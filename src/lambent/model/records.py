"""How functions and versions lie in the store, as JSON: one place for who writes (control) and who reads (invoke)."""

from __future__ import annotations

import msgspec

from lambent.model.function import FunctionRecord, FunctionVersion

_encoder = msgspec.json.Encoder()
_functions = msgspec.json.Decoder(FunctionRecord)
_versions = msgspec.json.Decoder(FunctionVersion)


def encode(value: FunctionRecord | FunctionVersion) -> bytes:
    return _encoder.encode(value)


def decode_function(value: bytes) -> FunctionRecord:
    """Read what lies under a `function_key`."""
    return _functions.decode(value)


def decode_version(value: bytes) -> FunctionVersion:
    """Read what lies under a `version_key`."""
    return _versions.decode(value)
