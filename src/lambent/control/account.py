"""The account: GetAccountSettings, and the two quotas that span its functions."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.control.answers import Answer
from lambent.control.operation import Operation, parsing
from lambent.control.requests import NoRequest
from lambent.control.usage import Ledger
from lambent.model import limits
from lambent.model.caller import CallerContext
from lambent.model.errors import CodeStorageExceeded, InvalidParameterValue


class Account:
    """Every account and region has the same limits."""

    def __init__(self, ledger: Ledger, *, concurrency: int, code_storage_bytes: int) -> None:
        self._ledger = ledger
        self._concurrency = concurrency
        self._code_storage_bytes = code_storage_bytes

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "GetAccountSettings": parsing(NoRequest, self.get_account_settings),
        }

    async def get_account_settings(self, caller: CallerContext, request: NoRequest) -> Answer:
        usage = self._ledger.usage(caller.account, caller.region)
        return {
            "AccountLimit": {
                "TotalCodeSize": self._code_storage_bytes,
                "CodeSizeUnzipped": limits.UNZIPPED_CODE_BYTES,
                "CodeSizeZipped": limits.ZIPPED_CODE_BYTES,
                "ConcurrentExecutions": self._concurrency,
                "UnreservedConcurrentExecutions": self._concurrency - usage.reserved_concurrency,
            },
            "AccountUsage": {"TotalCodeSize": usage.code_bytes, "FunctionCount": usage.functions},
        }

    def require_storage(self, caller: CallerContext, added_bytes: int) -> None:
        """Every version counts with its own package, as on AWS, whether or not others share it."""
        if self._ledger.usage(caller.account, caller.region).code_bytes + added_bytes > self._code_storage_bytes:
            raise CodeStorageExceeded("Code storage limit exceeded.")

    def require_unreserved(self, caller: CallerContext, added_concurrency: int) -> None:
        if added_concurrency > 0 and self._free(caller) - added_concurrency < limits.UNRESERVED_CONCURRENCY_MINIMUM:
            raise InvalidParameterValue(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{limits.UNRESERVED_CONCURRENCY_MINIMUM}].",
                Type=None,
            )

    def require_provisionable(self, caller: CallerContext, requested: int, added_concurrency: int) -> None:
        """Of a function without a reservation, all of whose provisioned concurrency is the account's."""
        left = self._free(caller) - added_concurrency
        if left < 0:
            raise InvalidParameterValue(
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
                f"[{self._free(caller) + requested - added_concurrency}]."
            )
        if added_concurrency > 0 and left < limits.UNRESERVED_CONCURRENCY_MINIMUM:
            raise InvalidParameterValue(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{limits.UNRESERVED_CONCURRENCY_MINIMUM}]."
            )

    def _free(self, caller: CallerContext) -> int:
        """Concurrency that is neither reserved nor provisioned."""
        usage = self._ledger.usage(caller.account, caller.region)
        return self._concurrency - usage.reserved_concurrency - usage.provisioned_concurrency
