"""Whatever happens in WeCom, a run ends with our tables equal to its directory."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from wecom_sandbox.testing import ControlError

from integrations.models import Corp, SyncRun
from tests.integrations.directory.place import Directory, seed
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

Source = SyncRun.Source
USERIDS = ["LiLei", "hanmeimei", "jim", "a", "B.b", "c-c@x", "D_d", "9"]
DEPARTMENTS = [2, 3, 4, 5, 6]

userids = st.sampled_from(USERIDS)
places = st.lists(st.sampled_from([1, *DEPARTMENTS]), min_size=1, max_size=4, unique=True)
steps = st.one_of(
    st.tuples(st.just("put"), userids, st.sampled_from(["甲", "乙", "丙 "]), places, st.sampled_from([1, 2, 4, 5])),
    st.tuples(st.just("move"), userids, places),
    st.tuples(st.just("leave"), userids),
    st.tuples(st.just("rename"), userids, userids),
    st.tuples(st.just("department"), st.sampled_from(DEPARTMENTS), st.sampled_from([1, *DEPARTMENTS])),
    st.tuples(st.just("close"), st.sampled_from(DEPARTMENTS)),
    st.tuples(
        st.just("scope"), st.lists(st.sampled_from([1, *DEPARTMENTS]), max_size=3), st.lists(userids, max_size=2)
    ),
    st.tuples(st.just("sync"), st.sampled_from([Source.APP, Source.BOTH])),
)


def take(place: Directory, step: tuple[Any, ...]) -> None:
    """One thing that happens; what WeCom refuses does not."""
    with suppress(ControlError):
        match step:
            case ("put", userid, name, departments, status):
                place.put_members({"userid": userid, "name": name, "department": departments, "status": status})
            case ("move", userid, departments):
                place.put_members({"userid": userid, "department": departments})
            case ("leave", userid):
                place.delete_member(userid)
            case ("rename", userid, new):
                place.rename(userid, new)
            case ("department", number, parent):
                place.put_departments({"id": number, "name": f"部门{number}", "parentid": parent})
            case ("close", number):
                place.sandbox.control("DELETE", f"companies/{CORPID}/departments/{number}")
            case ("scope", departments, people):
                place.set_scope(partyids=departments, userids=people)
            case ("sync", source):
                place.sync_saying_yes(source)


def visible(place: Directory, source: SyncRun.Source) -> dict[str, Any]:
    """The sandbox's people whom the app sees. Of their departments, the app tells those that it sees itself, the
    contacts secret all."""
    company = place.sandbox.control("GET", f"companies/{CORPID}")
    scope = next(app["scope"] for app in company["apps"] if app["agentid"] == AGENTID)
    below = set(scope["partyids"]) & {one["id"] for one in company["departments"]}
    while more := {one["id"] for one in company["departments"] if one["parentid"] in below} - below:
        below |= more
    singly = {userid.lower() for userid in scope["userids"]}
    return {
        folded: (userid, name.strip(), status, departments if source == Source.BOTH else departments & below)
        for folded, (userid, name, status, departments) in place.theirs().items()
        if departments & below or folded in singly
    }


@pytest.mark.django_db(transaction=True)
@rules(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happened=st.lists(steps, max_size=14), last=st.sampled_from([Source.APP, Source.BOTH]))
def test_after_any_sequence_our_tables_equal_the_sandbox(
    running_sandbox: SandboxHandle, happened: list[tuple[Any, ...]], last: SyncRun.Source
) -> None:
    Corp.objects.all().delete()
    running_sandbox.load(seed())
    place = Directory.connected(running_sandbox).with_contacts()

    for step in happened:
        take(place, step)
    place.sync_saying_yes(last)

    assert place.stored() == visible(place, last)
    again = place.sync(last)
    assert (again.status, again.counts) == (SyncRun.Status.DONE, {})
