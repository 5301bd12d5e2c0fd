"""Ten thousand members: calls, statements and rows, not seconds (benchmarks/directory_sync.py measures those)."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.models import SyncRun
from tests.integrations.directory.place import Directory, seed
from tests.integrations.directory.test_running import written_to_copies

MEMBERS, DEPARTMENTS = 10_000, 200
Source = SyncRun.Source


@pytest.fixture
def large(place: Directory) -> Directory:
    departments = [{"id": 10 + n, "name": f"部门{n}", "parentid": 1} for n in range(DEPARTMENTS)]
    members = [{"userid": f"user{n}", "name": f"员工{n}", "department": [10 + n % DEPARTMENTS]} for n in range(MEMBERS)]
    place.sandbox.load(seed(departments=[{"id": 1, "name": "北山制造"}, *departments], members=members, tags=[]))
    place.calls()
    return place.with_contacts()


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        (Source.APP, {"department/list": 1, "user/list": DEPARTMENTS + 1, "agent/get": 1}),
        (Source.CONTACTS, {"department/simplelist": 1, "user/list_id": 1}),
    ],
)
def test_ten_thousand_members(large: Directory, source: SyncRun.Source, calls: dict[str, int]) -> None:
    first = large.sync(source)

    assert first.counts == {"departments": DEPARTMENTS + 1, "joined": MEMBERS}
    assert large.calls() == calls
    with CaptureQueriesContext(connection) as queries:
        again = large.sync(source)

    assert large.calls() == calls
    assert written_to_copies(queries) == []
    assert (again.status, again.seen_count) == (SyncRun.Status.DONE, MEMBERS)
    # The heartbeat is once a second of the clock, which moves a second at each look: one for each department.
    assert len(queries) < DEPARTMENTS + 60


def test_one_leaver_costs_one_call_more(large: Directory) -> None:
    large.sync(Source.CONTACTS)
    large.calls()
    large.delete_member("user77")

    run = large.sync(Source.CONTACTS)

    assert large.calls() == {"department/simplelist": 1, "user/list_id": 1, "user/get": 1}
    assert run.counts == {"deleted": 1}
