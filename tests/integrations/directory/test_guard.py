"""The guard: a run that would take access from many asks first, and does only what was allowed."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from integrations.directory import departments
from integrations.directory.departments import find_question, is_too_many
from integrations.directory.sync import admit_member, confirm_run, refuse_run, request_run
from integrations.models import SyncRun
from tests.integrations.directory.place import Directory

pytestmark = pytest.mark.usefixtures("_low_floor")

UNASKED_AT_LEAST = departments.UNASKED_AT_LEAST
Status = SyncRun.Status
# The tree of `people`: 1 > 2 > 3 and 1 > 4.
PARENTS = {1: None, 2: 1, 3: 2, 4: 1}


@pytest.fixture
def _low_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard without its minimum, because the company of these tests has few people."""
    monkeypatch.setattr(departments, "UNASKED_AT_LEAST", 1)


def place_hundred(department: int = 1) -> dict[int, list[int]]:
    return {key: [department] for key in range(100)}


@pytest.mark.parametrize(
    ("losing", "eligible", "percent", "roots", "asked"),
    [
        (set(range(5)), place_hundred(), 5, (), None),
        (set(range(6)), place_hundred(), 5, (), ("share", 6, 100, ())),
        (set(range(20)), place_hundred(), 20, (), None),
        ({0}, place_hundred(), 0, (), ("share", 1, 100, ())),
        (set(range(100)), place_hundred(), 100, (), ("root", 100, 100, ("1",))),
        # All people of a root, for any number; without roots the one top is 1, where others stay.
        ({100}, place_hundred(3) | {100: [4]}, 5, (2, 4), ("root", 1, 101, ("4",))),
        ({100}, place_hundred(3) | {100: [4]}, 5, (2,), None),
        ({100}, place_hundred(3) | {100: [4]}, 5, (), None),
        ({101}, place_hundred(3) | {100: [4, 3], 101: [4]}, 5, (2, 4), None),
        (set(), {}, 5, (), None),
    ],
)
def test_what_is_asked(
    losing: set[int], eligible: dict[int, list[int]], percent: int, roots: tuple[int, ...], asked: object
) -> None:
    found = find_question(losing=losing, eligible=eligible, parents=PARENTS, roots=roots, percent=percent)

    assert (found and (found["reason"], found["leaving"], found["of"], tuple(found["roots"]))) == asked


@pytest.mark.parametrize(
    ("losing", "eligible", "percent", "is_asked"),
    [
        *((1, 2, 5, False), (1, 3, 5, False), (2, 3, 5, True), (9, 18, 5, False), (10, 18, 5, True)),
        *((20, 100, 5, False), (21, 100, 5, True), (50, 1000, 5, False), (51, 1000, 5, True), (1, 1000, 0, True)),
    ],
)
def test_some_people_may_go_unasked_but_never_most_of_them(
    monkeypatch: pytest.MonkeyPatch, losing: int, eligible: int, percent: int, is_asked: bool
) -> None:
    monkeypatch.setattr(departments, "UNASKED_AT_LEAST", UNASKED_AT_LEAST)

    assert is_too_many(losing_count=losing, eligible_count=eligible, percent=percent) is is_asked


def twenty(place: Directory) -> None:
    """Add twenty people, whom a first run copies."""
    place.put_members(*({"userid": f"p{n}", "name": f"P{n}", "department": [2]} for n in range(20)))
    place.sync()


def test_a_run_that_asks_has_written_nothing(place: Directory) -> None:
    twenty(place)
    before = place.stored()
    place.delete_member("p0")
    place.delete_member("p1")
    place.put_members({"userid": "new", "name": "New", "department": [2]}, {"userid": "p2", "name": "Two"})

    run = place.sync()

    assert run.status == Status.ASKING
    assert run.question == {"reason": "share", "leaving": 2, "of": 23, "percent": 5, "roots": []}
    assert place.stored() == before
    assert run.counts == {}
    keys = [place.member(one).pk for one in ("p0", "p1")]
    assert sorted(run.proposed) == sorted([key, "deleted"] for key in keys)
    assert run.written == []


@pytest.mark.parametrize(
    ("percent", "disabled", "deleted", "is_asked"),
    [(5, 0, 1, False), (5, 2, 0, True), (5, 1, 1, True), (10, 0, 2, False)],
)
def test_disabling_counts_like_leaving_and_the_share_is_a_setting(
    place: Directory, settings: Settings, percent: int, disabled: int, deleted: int, is_asked: bool
) -> None:
    settings.DIRECTORY_GUARD_PERCENT = percent
    twenty(place)
    for number in range(deleted):
        place.delete_member(f"p{number}")
    place.put_members(*({"userid": f"p{10 + number}", "status": 2} for number in range(disabled)))

    assert place.sync().status == (Status.ASKING if is_asked else Status.DONE)


def test_whoever_has_lost_access_already_does_not_count(place: Directory) -> None:
    twenty(place)
    place.put_members({"userid": "p0", "status": 2})
    assert place.sync().status == Status.DONE
    place.delete_member("p0")
    place.delete_member("p1")

    run = place.sync()

    assert (run.status, run.counts) == (Status.DONE, {"deleted": 2})


def make_asking_run(place: Directory) -> SyncRun:
    """Make a run that asks about p0 and p1."""
    twenty(place)
    place.delete_member("p0")
    place.delete_member("p1")
    run = place.sync()
    assert run.status == Status.ASKING
    return run


def test_yes_lets_it_go_on(place: Directory) -> None:
    run = make_asking_run(place)
    place.clock.now += timedelta(hours=9)  # the next morning

    assert confirm_run(run=run, now=place.clock())
    assert not confirm_run(run=run, now=place.clock())
    assert not refuse_run(run=run, now=place.clock())
    done = place.carry_on(run)

    assert done.status == Status.DONE
    assert place.stored() == place.theirs()
    assert place.changes(done) == [("deleted", "p0"), ("deleted", "p1")]
    assert done.proposed == []


def test_yes_is_only_for_those_who_were_shown(place: Directory) -> None:
    run = make_asking_run(place)
    for number in range(2, 12):
        place.delete_member(f"p{number}")
    place.put_members({"userid": "p0", "name": "P0", "department": [2]})  # a person who is back stays
    confirm_run(run=run, now=place.clock())

    done = place.carry_on(run)

    assert place.changes(done) == [("deleted", "p1")]
    [warning] = done.warnings
    assert (warning["code"], warning["count"]) == ("not_shown", 10)
    assert place.sync().status == Status.ASKING


def test_no_ends_it_and_changes_nothing(place: Directory) -> None:
    run = make_asking_run(place)

    assert refuse_run(run=run, now=place.clock())

    run.refresh_from_db()
    assert run.status == Status.REFUSED
    assert len(place.stored()) == 23
    assert not confirm_run(run=run, now=place.clock())


def test_a_later_run_overtakes_one_that_asks(place: Directory) -> None:
    run = make_asking_run(place)

    later = place.request()
    again = request_run(corp=place.corp, trigger=SyncRun.Trigger.NIGHTLY, now=place.clock())

    run.refresh_from_db()
    assert (run.status, later.status, again) == (Status.OVERTAKEN, Status.WAITING, later)
    assert not confirm_run(run=run, now=place.clock())
    assert place.carry_on(later).status == Status.ASKING


def test_an_administrator_admits_a_userid_that_came_back(place: Directory) -> None:
    place.sync()
    place.delete_member("jim")
    place.sync_saying_yes()
    place.put_members({"userid": "jim", "name": "Jim", "department": [4]})
    place.sync()

    assert admit_member(member=place.member("jim"), now=place.clock())

    assert place.member("jim") in place.corp.members.eligible()
    assert not admit_member(member=place.member("jim"), now=place.clock())


def test_differences_of_the_last_runs_only_are_kept(place: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.directory.sync.KEPT_WITH_CHANGES", 2)
    monkeypatch.setattr("integrations.directory.sync.KEPT_RUNS", 3)
    runs = [place.sync()]
    for number in range(4):
        place.put_members({"userid": "jim", "name": f"Jim {number}"})
        runs.append(place.sync())

    kept = list(SyncRun.objects.order_by("pk"))

    assert kept == runs[2:]
    assert [one for one in kept if one.written] == runs[3:]
