"""The code signing of functions: which configuration one has, and whether code may be deployed under it.

Lambent knows no signer: it takes every package for unsigned. So a policy of Enforce lets nothing be deployed, and one
of Warn lets everything, with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.names import unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.requests import FunctionRequest
from lambent.control.signing_catalogue import SigningCatalogue
from lambent.model.caller import CallerContext
from lambent.model.code_signing import UntrustedArtifact
from lambent.model.errors import CodeSigningConfigNotFound, CodeVerificationFailed

UNSIGNED = "The package is taken for unsigned, since Lambent checks no signatures; the code signing policy is Warn"


class PutFunctionCodeSigningRequest(FunctionRequest):
    code_signing_config_arn: str


class CodeSigning:
    def __init__(self, catalogue: Catalogue, configs: SigningCatalogue) -> None:
        self._catalogue = catalogue
        self._configs = configs

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutFunctionCodeSigningConfig": parsing(
                PutFunctionCodeSigningRequest, self.put_function_code_signing_config
            ),
            "GetFunctionCodeSigningConfig": parsing(FunctionRequest, self.get_function_code_signing_config),
            "DeleteFunctionCodeSigningConfig": parsing(FunctionRequest, self.delete_function_code_signing_config),
        }

    async def require_trusted(self, caller: CallerContext, config_arn: str | None) -> str | None:
        """Allow or refuse a deployment under a configuration, and return what the caller is to be warned of.

        Raises:
            CodeSigningConfigNotFound: there is no such configuration.
            CodeVerificationFailed: its policy is Enforce.
        """
        if not config_arn:
            return None
        found = await self._configs.get(caller, config_arn)
        if found is None:
            raise _not_found(config_arn)
        if found.config.untrusted_artifact is UntrustedArtifact.ENFORCE:
            raise CodeVerificationFailed(
                "Lambda cannot deploy the function. The function or layer might be signed using a signature that the "
                "client is not configured to accept. Check the provided signature for unsigned."
            )
        return UNSIGNED

    async def put_function_code_signing_config(
        self, caller: CallerContext, request: PutFunctionCodeSigningRequest
    ) -> Answer:
        """From the next deployment on; the code that the function has stays."""
        function = unqualified_arn(caller, "PutFunctionCodeSigningConfig", request.function_name)
        arn = request.code_signing_config_arn
        async with self._catalogue.changing:
            if await self._configs.get(caller, arn) is None:
                raise _not_found(arn)
            found = await self._catalogue.find(function)
            await self._catalogue.put(replace(found.record, code_signing_config_arn=arn), found.revision)
        return {"CodeSigningConfigArn": arn, "FunctionName": function.name}

    async def get_function_code_signing_config(self, caller: CallerContext, request: FunctionRequest) -> Answer:
        function = unqualified_arn(caller, "GetFunctionCodeSigningConfig", request.function_name)
        arn = (await self._catalogue.find(function)).record.code_signing_config_arn
        return {"CodeSigningConfigArn": arn, "FunctionName": function.name} if arn else {}

    async def delete_function_code_signing_config(self, caller: CallerContext, request: FunctionRequest) -> Answer:
        function = unqualified_arn(caller, "DeleteFunctionCodeSigningConfig", request.function_name)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            await self._catalogue.put(replace(found.record, code_signing_config_arn=None), found.revision)
        return {}


def _not_found(arn: str) -> CodeSigningConfigNotFound:
    return CodeSigningConfigNotFound(
        f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
    )
