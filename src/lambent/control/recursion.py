"""Whether a function may go on invoking itself (reference/lifecycle.md §12): stored here, acted upon by invoke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.names import unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.requests import FunctionRequest
from lambent.model.caller import CallerContext
from lambent.model.function import RecursiveLoop


class PutRecursionConfigRequest(FunctionRequest):
    recursive_loop: RecursiveLoop


class Recursion:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutFunctionRecursionConfig": parsing(PutRecursionConfigRequest, self.put_function_recursion_config),
            "GetFunctionRecursionConfig": parsing(FunctionRequest, self.get_function_recursion_config),
        }

    async def put_function_recursion_config(self, caller: CallerContext, request: PutRecursionConfigRequest) -> Answer:
        function = unqualified_arn(caller, "PutFunctionRecursionConfig", request.function_name)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            await self._catalogue.put(replace(found.record, recursive_loop=request.recursive_loop), found.revision)
        return {"RecursiveLoop": request.recursive_loop}

    async def get_function_recursion_config(self, caller: CallerContext, request: FunctionRequest) -> Answer:
        function = unqualified_arn(caller, "GetFunctionRecursionConfig", request.function_name)
        return {"RecursiveLoop": (await self._catalogue.find(function)).record.recursive_loop}
