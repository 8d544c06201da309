"""Reserved concurrency: at once a function's guarantee and its cap (reference/concurrency-scaling.md §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control.account import Account
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.names import unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.provisioned import provisioned_sum
from lambent.control.requests import FunctionRequest, PutFunctionConcurrencyRequest
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue


class Concurrency:
    def __init__(self, catalogue: Catalogue, account: Account) -> None:
        self._catalogue = catalogue
        self._account = account

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutFunctionConcurrency": parsing(PutFunctionConcurrencyRequest, self.put_function_concurrency),
            "GetFunctionConcurrency": parsing(FunctionRequest, self.get_function_concurrency),
            "DeleteFunctionConcurrency": parsing(FunctionRequest, self.delete_function_concurrency),
        }

    async def put_function_concurrency(self, caller: CallerContext, request: PutFunctionConcurrencyRequest) -> Answer:
        function = unqualified_arn(caller, "PutFunctionConcurrency", request.function_name)
        reserved = request.reserved_concurrent_executions
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            provisioned = provisioned_sum(found.record)
            if reserved < provisioned:
                raise InvalidParameterValue(  # the spaces are AWS's
                    f" ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned "
                    f"concurrency [{provisioned}]."
                )
            before = found.record.reserved_concurrency
            self._account.require_unreserved(caller, reserved - (provisioned if before is None else before))
            await self._catalogue.put(replace(found.record, reserved_concurrency=reserved), found.revision)
        return {"ReservedConcurrentExecutions": reserved}

    async def get_function_concurrency(self, caller: CallerContext, request: FunctionRequest) -> Answer:
        function = unqualified_arn(caller, "GetFunctionConcurrency", request.function_name)
        found = await self._catalogue.find(function)
        return {"ReservedConcurrentExecutions": found.record.reserved_concurrency}

    async def delete_function_concurrency(self, caller: CallerContext, request: FunctionRequest) -> Answer:
        function = unqualified_arn(caller, "DeleteFunctionConcurrency", request.function_name)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            await self._catalogue.put(replace(found.record, reserved_concurrency=None), found.revision)
        return {}
