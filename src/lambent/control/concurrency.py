"""Reserved concurrency: at once a function's guarantee and its cap (reference/concurrency-scaling.md §2)."""

from __future__ import annotations

from dataclasses import replace

from lambent.control.account import Account
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.names import unqualified_arn
from lambent.control.requests import FunctionRequest, PutFunctionConcurrencyRequest
from lambent.model.caller import CallerContext


class Concurrency:
    def __init__(self, catalogue: Catalogue, account: Account) -> None:
        self._catalogue = catalogue
        self._account = account

    async def put_function_concurrency(self, caller: CallerContext, request: PutFunctionConcurrencyRequest) -> Answer:
        function = unqualified_arn(caller, "PutFunctionConcurrency", request.function_name)
        reserved = request.reserved_concurrent_executions
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            self._account.require_unreserved(caller, reserved - (found.record.reserved_concurrency or 0))
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
