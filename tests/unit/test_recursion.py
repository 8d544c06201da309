"""Chains of invocations, told by the trace header that SDKs send on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.invoke.recursion import INVOCATIONS_MAXIMUM, extend
from lambent.model.arn import FunctionArn

A = FunctionArn("us-east-1", "000000000000", "a")
B = FunctionArn("us-east-1", "000000000000", "b")
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"


def test_the_first_invocation_of_a_chain_begins_its_lineage() -> None:
    header, before = extend(TRACE, A)

    assert before == 0
    assert header.startswith(f"{TRACE};Lineage=1:")
    assert header.endswith(":0")


def test_a_function_that_invokes_itself_is_counted() -> None:
    header, counts = TRACE, []
    for _ in range(INVOCATIONS_MAXIMUM + 1):
        header, before = extend(header, A)
        counts.append(before)

    assert counts == list(range(INVOCATIONS_MAXIMUM + 1))


def test_versions_and_aliases_are_the_same_function() -> None:
    header, _ = extend(TRACE, A.qualified("live"))

    assert extend(header, A.qualified("7"))[1] == 1


def test_two_functions_that_invoke_each_other_are_counted_each() -> None:
    header, counts = TRACE, []
    for function in (A, B, A, B, A):
        header, before = extend(header, function)
        counts.append(before)

    assert counts == [0, 0, 1, 1, 2]
    assert header.count("Lineage=") == 1
    assert header.startswith(TRACE)


def test_the_lineage_of_aws_own_headers_is_kept() -> None:
    header, before = extend("Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=aae260cf:0|74085691:3;Sampled=0", A)

    assert before == 0
    assert ";Lineage=1:aae260cf:0|74085691:3|" in header
    assert header.startswith("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0;")


@given(st.text(alphabet="Lineage=:|;0123456789abcdef ", max_size=80))
def test_whatever_a_caller_sends_is_extended(sent: str) -> None:
    header, before = extend(f"{TRACE};{sent}", A)

    assert before >= 0
    assert extend(header, A)[1] == before + 1
