"""Names for requests."""

from __future__ import annotations

import uuid

from lambent.frontend.ids import new_request_id


def test_request_ids_are_version_4_uuids_and_differ() -> None:
    drawn = {new_request_id() for _ in range(1000)}

    assert len(drawn) == 1000
    assert all(uuid.UUID(one).version == 4 and str(uuid.UUID(one)) == one for one in drawn)
    assert all(uuid.UUID(one).variant == uuid.RFC_4122 for one in drawn)
