"""The layers of a function: looked up when it is configured, and held from then on (reference/api.md §3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lambent.control.layer_catalogue import LayerCatalogue, require_readable
from lambent.model import limits
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue
from lambent.model.function import FunctionVersion
from lambent.model.layer import LayerArn, LayerReference, parse_layer_arn


class FunctionLayers:
    def __init__(self, catalogue: LayerCatalogue) -> None:
        self._catalogue = catalogue

    async def applied(
        self, version: FunctionVersion, caller: CallerContext, arns: Sequence[str] | None
    ) -> FunctionVersion:
        """The version with the layers that a request names; None keeps those that it has, an empty list has none.

        Raises:
            InvalidParameterValue: too many, unknown, or too large together with the code.
            AccessDenied: another account's layer, whose policy does not allow it.
        """
        if arns is not None:
            layers = [await self._reference(caller, layer) for layer in _parsed(caller, arns)]
            version = replace(version, layers=tuple(layers))
        self.require_room(version)
        return version

    def require_room(self, version: FunctionVersion) -> None:
        """Raises InvalidParameterValue where code and layers unzipped are more than a function may have."""
        unzipped_bytes = version.code_unzipped_bytes + sum(layer.unzipped_bytes for layer in version.layers)
        if unzipped_bytes > limits.UNZIPPED_CODE_BYTES:
            raise InvalidParameterValue(
                "Function code combined with layers exceeds the maximum allowed size of "
                f"{limits.UNZIPPED_CODE_BYTES} bytes. The actual size is {unzipped_bytes} bytes."
            )

    async def _reference(self, caller: CallerContext, layer: LayerArn) -> LayerReference:
        version = await self._catalogue.version(layer)
        require_readable(caller, layer, version)
        if version is None:
            raise InvalidParameterValue(f"Layer version {layer} does not exist.")
        return LayerReference(
            arn=str(layer),
            code_blob=version.code_blob,
            code_size_bytes=version.code_size_bytes,
            unzipped_bytes=version.unzipped_bytes,
        )


def _parsed(caller: CallerContext, arns: Sequence[str]) -> Sequence[LayerArn]:
    """The layers named, in order, refused where they cannot go together."""
    if len(arns) > limits.LAYERS_MAXIMUM:
        raise InvalidParameterValue(f"Cannot reference more than {limits.LAYERS_MAXIMUM} layers.")
    layers: dict[LayerArn, LayerArn] = {}
    for text in arns:
        layer = parse_layer_arn(text)
        if layer is None:  # of the model's pattern, and yet none of ours: a layer that AWS itself publishes
            raise InvalidParameterValue(f"Layer version {text} does not exist.")
        if layer.version == 0:
            raise InvalidParameterValue("Layer Version Cannot be less than 1")
        if layer.region != caller.region:
            raise InvalidParameterValue(
                "Layers are not in the same region as the function. Layers are expected to be in region "
                f"{caller.region}."
            )
        if (other := layers.get(layer.unversioned)) is not None:
            raise InvalidParameterValue(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{other} and {layer} are versions of the same layer."
            )
        layers[layer.unversioned] = layer
    return list(layers.values())
