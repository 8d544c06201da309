"""ProvisionedConcurrencyConfig: to CloudFormation a member of the alias, to Lambda a configuration of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any  # Any: what templates and botocore hold

from lambent.cli.failure import ExitStatus, Failure

_LOOK_AGAIN_S = 0.1


def provision(client: Any, alias: Mapping[str, str], config: Mapping[str, Any]) -> bool:
    """Have as much provisioned for an alias as the template says, and wait for it; returns whether that was a change.

    Raises:
        Failure: the environments could not be initialised.
    """
    before, wanted = _found(client, alias), config.get("ProvisionedConcurrentExecutions")
    if wanted is None:
        if before is not None:
            client.delete_provisioned_concurrency_config(**alias)
        return before is not None
    if before is not None:
        _wait(client, alias)  # it may have been moved just now
    is_change = before is None or before["RequestedProvisionedConcurrentExecutions"] != int(wanted)
    if is_change:
        client.put_provisioned_concurrency_config(**alias, ProvisionedConcurrentExecutions=int(wanted))
        _wait(client, alias)
    return is_change


def _found(client: Any, alias: Mapping[str, str]) -> Any:
    try:
        return client.get_provisioned_concurrency_config(**alias)
    except client.exceptions.ProvisionedConcurrencyConfigNotFoundException:
        return None


def _wait(client: Any, alias: Mapping[str, str]) -> None:
    while (config := _found(client, alias))["Status"] != "READY" or _is_moving(client, alias):
        if config["Status"] == "FAILED":
            named = f"{alias['FunctionName']}:{alias['Qualifier']}"
            reason = config.get("StatusReason", "no reason is known")
            raise Failure(f"Nothing could be provisioned for {named}: {reason}", status=ExitStatus.REFUSED)
        time.sleep(_LOOK_AGAIN_S)


def _is_moving(client: Any, alias: Mapping[str, str]) -> bool:
    """As long as it is, all of its invokes go to the version that it had."""
    routing = client.get_alias(FunctionName=alias["FunctionName"], Name=alias["Qualifier"]).get("RoutingConfig", {})
    return 1.0 in routing.get("AdditionalVersionWeights", {}).values()
