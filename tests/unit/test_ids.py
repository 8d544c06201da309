"""Names for requests and traces."""

from __future__ import annotations

import re
import uuid

from lambent.frontend.ids import new_request_id, new_trace_id


def test_request_ids_are_version_4_uuids_and_differ() -> None:
    drawn = {new_request_id() for _ in range(1000)}

    assert len(drawn) == 1000
    assert all(uuid.UUID(one).version == 4 and str(uuid.UUID(one)) == one for one in drawn)
    assert all(uuid.UUID(one).variant == uuid.RFC_4122 for one in drawn)


def test_a_trace_id_has_awss_form() -> None:
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", new_trace_id())
