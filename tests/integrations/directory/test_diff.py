"""Differences for any values; and after anything in WeCom, a run that makes our tables equal to it."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from wecom_sandbox.testing import ControlError

from integrations.directory.diff import compare_member
from integrations.directory.fetch import SeenMember, clean_text
from integrations.models import Corp, Member, SyncRun
from tests.integrations.directory.place import Directory, Source, seed
from tests.nightly import IS_NIGHTLY
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

IN_SCOPE, Kind = Member.Presence.IN_SCOPE, SyncRun.Change
numbers = st.integers(1, 12)
parents = st.dictionaries(numbers, st.none() | numbers)
texts = st.none() | st.text(max_size=5)


def make_member(*, departments: set[int], **values: Any) -> Member:
    member = Member(userid="lilei", userid_folded="lilei", **values)
    member.department_numbers = departments
    return member


def test_the_weightiest_change_names_the_difference() -> None:
    known = make_member(name="李雷", status="active", departments={2})
    seen = SeenMember("lilei", {3}, name="李磊", status="disabled")

    found = compare_member(known, seen, IN_SCOPE)

    assert found is not None
    assert found.kind == Kind.DISABLED
    assert (found.updates, found.departments) == ({"name": "李磊", "status": "disabled"}, {3})


@given(text=st.text(), longest=st.integers(0, 20))
def test_a_cleaned_text_can_be_stored_and_stays_so(text: str, longest: int) -> None:
    cleaned = clean_text(text, longest)

    assert len(cleaned) <= longest
    assert "\x00" not in cleaned
    cleaned.encode()
    assert clean_text(cleaned, longest).strip() == cleaned.strip()


def test_emoji_of_several_characters_stay_whole() -> None:
    assert clean_text("家 👨\u200d👩\u200d👧\ufeff\n", 128) == "家 👨\u200d👩\u200d👧"


def steps(userids: list[str], departments: list[int], *further: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of events in WeCom, for `take`; `further` adds others."""
    person, place = st.sampled_from(userids), st.sampled_from([1, *departments])
    places = st.lists(place, min_size=1, max_size=4, unique=True)
    return st.one_of(
        st.tuples(st.just("put"), person, st.sampled_from(["甲", "乙", "丙 "]), places, st.sampled_from([1, 2, 4])),
        st.tuples(st.just("move"), person, places),
        st.tuples(st.just("leave"), person),
        st.tuples(st.just("rename"), person, person),
        st.tuples(st.just("department"), st.sampled_from(departments), place),
        st.tuples(st.just("close"), st.sampled_from(departments)),
        *further,
    )


USERIDS = ["LiLei", "hanmeimei", "jim", "a", "B.b", "c-c@x", "D_d", "9"]
DEPARTMENTS = [2, 3, 4, 5, 6]
scopes = st.tuples(
    st.just("scope"),
    st.lists(st.sampled_from([1, *DEPARTMENTS]), max_size=3),
    st.lists(st.sampled_from(USERIDS), max_size=2),
)
left = st.tuples(st.just("put"), st.sampled_from(USERIDS), st.just("甲"), st.just([1]), st.just(5))
syncs = st.tuples(st.just("sync"), st.sampled_from([Source.APP, Source.BOTH]))


def take(place: Directory, step: tuple[Any, ...]) -> None:
    """Do one step in WeCom; ignore steps that WeCom refuses."""
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


def visible(place: Directory, source: Source) -> dict[str, Any]:
    """Return the sandbox's people whom the app sees.

    The app gets only the departments that it sees itself, the contacts secret gets all.
    """
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


searching = rules(
    max_examples=400 if IS_NIGHTLY else 20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.django_db(transaction=True)
@searching
@given(
    happened=st.lists(steps(USERIDS, DEPARTMENTS, scopes, left, syncs), max_size=14),
    last=st.sampled_from([Source.APP, Source.BOTH]),
)
def test_after_any_sequence_our_tables_equal_the_sandbox(
    running_sandbox: SandboxHandle, happened: list[tuple[Any, ...]], last: Source
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
