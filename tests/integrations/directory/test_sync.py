"""Whole runs against the sandbox over HTTP: what is read with which secret, and what is written."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from integrations.directory.sync import _PROBLEMS, _WARNINGS, describe_question, describe_warnings, explain_run
from integrations.models import Corp, Department, Member, SyncRun
from tests.integrations.conftest import staff
from tests.integrations.directory.place import START, Directory, Source, seed
from tests.sandbox_process import AGENTID, CORPID

DONE = SyncRun.Status.DONE
Presence = Member.Presence
SOURCES = [Source.APP, Source.BOTH]
COPIES = ("integrations_member", "integrations_member_departments", "integrations_department")


def written_to_copies(queries: CaptureQueriesContext) -> list[str]:
    """Return the statements that change the copy of the directory."""
    statements = (one["sql"] for one in queries.captured_queries)
    changing = [sql for sql in statements if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
    return [sql for sql in changing if any(f'"{table}"' in sql for table in COPIES)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source.APP, {"department/list": 1, "user/list": 4, "agent/get": 1}),
        (
            Source.BOTH,
            {"department/simplelist": 1, "user/list_id": 1, "department/list": 1, "user/list": 4, "agent/get": 1},
        ),
    ],
)
def test_the_first_run_copies_departments_and_members_by_no_more_calls_than_the_secret_needs(
    place: Directory, source: Source, expected: dict[str, int]
) -> None:
    run = place.sync(source)

    assert (run.status, run.phase, run.problem) == (DONE, "finished", "")
    assert place.calls() == expected
    assert run.call_count == sum(expected.values())
    assert place.stored() == place.theirs()
    assert place.stored_departments() == place.their_departments()
    assert (run.counts, run.seen_count) == ({"departments": 4, "joined": 3}, 3)
    assert None not in (run.started_at, run.finished_at)


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_is_written_when_nothing_changed(place: Directory, source: Source) -> None:
    place.sync(source)

    with CaptureQueriesContext(connection) as queries:
        run = place.sync(source)

    assert run.status == DONE
    assert written_to_copies(queries) == []
    assert (run.counts, run.warnings) == ({}, [])


def test_joining_moving_renaming_and_disabling_are_followed(place: Directory) -> None:
    place.sync()
    place.put_members(
        {"userid": "lucy", "name": "Lucy", "department": [3]},
        {"userid": "jim", "name": "Jim Green", "department": [2, 3]},
        {"userid": "hanmeimei", "status": 4},
    )
    place.put_departments({"id": 3, "name": "华北区", "parentid": 4}, {"id": 9, "name": "法务部", "parentid": 1})

    run = place.sync()

    assert place.stored() == place.theirs()
    assert place.stored_departments() == place.their_departments()
    assert run.counts == {"departments": 2, "changed": 2, "joined": 1}
    assert ("changed", "jim") in place.changes(run)


def test_a_removed_department_is_kept_and_marked_until_it_is_there_again(place: Directory) -> None:
    for is_there in (True, False, True):
        if is_there:
            place.put_departments({"id": 9, "name": "法务部", "parentid": 1})
        else:
            place.sandbox.control("DELETE", f"companies/{CORPID}/departments/9")
        place.sync()

        assert (place.corp.departments.get(wecom_department_id=9).removed_at is None) == is_there
        assert place.stored_departments() == place.their_departments()


def test_a_userid_in_other_letters_is_the_same_person(place: Directory) -> None:
    place.sync()
    before = place.member("lilei")
    place.rename("LiLei", "lilei")

    place.sync()

    after = place.member("LILEI")
    assert (after.pk, before.userid, after.userid) == (before.pk, "LiLei", "lilei")


def test_a_person_in_ten_departments_is_one_member(place: Directory) -> None:
    numbers = list(range(10, 20))
    place.put_departments(*({"id": number, "name": f"部门{number}", "parentid": 1} for number in numbers))
    place.put_members({"userid": "busy", "name": "Busy", "department": numbers})

    place.sync()

    departments = place.member("busy").departments.order_by("wecom_department_id")
    assert [one.wecom_department_id for one in departments] == numbers


@pytest.mark.parametrize(
    ("status", "kind", "presence"), [(2, "disabled", Presence.IN_SCOPE), (5, "deleted", Presence.DELETED)]
)
def test_disabled_and_left_in_wecom(place: Directory, status: int, kind: str, presence: str) -> None:
    place.sync()
    place.put_members({"userid": "jim", "status": status})

    run = place.sync_saying_yes()

    assert (place.changes(run), place.member("jim").presence) == ([(kind, "jim")], presence)
    assert place.member("jim") not in place.corp.members.eligible()
    place.put_members({"userid": "jim", "status": 1})
    assert place.changes(place.sync()) == [("enabled" if status == 2 else "reappeared", "jim")]
    assert (place.member("jim") in place.corp.members.eligible()) == (status == 2)


@pytest.mark.parametrize("source", SOURCES)
def test_who_left_the_scope_comes_back_by_itself(place: Directory, source: Source) -> None:
    place.put_members({"userid": "hanmeimei", "department": [3]})
    place.sync(source)
    place.set_scope(partyids=[2])

    left = place.sync_saying_yes(source)

    assert place.changes(left) == [("left_scope", "jim")]
    assert place.member("jim").presence == Presence.OUT_OF_SCOPE
    assert place.member("jim").left_at is not None
    assert place.stored().keys() == {"lilei", "hanmeimei"}
    place.set_scope(partyids=[1])

    back = place.sync(source)

    assert place.changes(back) == [("came_back", "jim")]
    jim = place.member("jim")
    assert (jim.presence, jim.left_at, jim.waits_since) == (Presence.IN_SCOPE, None, None)


@pytest.mark.parametrize("source", SOURCES)
def test_a_deleted_userid_that_comes_back_waits_for_an_administrator(place: Directory, source: Source) -> None:
    place.sync(source)
    place.delete_member("jim")

    gone = place.sync_saying_yes(source)

    assert place.changes(gone) == [("deleted", "jim")]
    assert place.member("jim").presence == Presence.DELETED
    place.put_members({"userid": "jim", "name": "Another Jim", "department": [4]})

    back = place.sync(source)

    jim = place.member("jim")
    assert place.changes(back) == [("reappeared", "jim")]
    assert [(one["code"], one["examples"]) for one in back.warnings] == [("reappeared", ["jim"])]
    assert (jim.presence, jim.left_at) == (Presence.IN_SCOPE, None)
    assert jim.waits_since is not None
    assert jim not in place.corp.members.eligible()


@pytest.mark.parametrize("before", ["out of scope", "waiting"])
def test_a_userid_deleted_when_its_person_was_not_able_waits_on_coming_back(place: Directory, before: str) -> None:
    place.sync()
    if before == "waiting":
        place.delete_member("jim")
        place.sync_saying_yes()
        place.put_members({"userid": "jim", "name": "Another Jim", "department": [4]})
        place.sync()
    else:
        place.set_scope(partyids=[2])
        place.sync_saying_yes()
    place.delete_member("jim")

    run = place.sync()

    assert place.changes(run) == [("deleted", "jim")]
    assert (place.member("jim").presence, place.member("jim").waits_since) == (Presence.DELETED, None)
    place.put_members({"userid": "jim", "name": "A third Jim", "department": [2]})
    place.sync()
    assert place.member("jim").waits_since is not None


@pytest.mark.parametrize("source", SOURCES)
def test_only_people_of_the_roots_take_part_and_a_root_that_is_not_there_stops_the_run(
    place: Directory, source: Source
) -> None:
    place.with_roots(2).sync(source)

    assert place.stored().keys() == {"lilei", "hanmeimei"}
    assert set(place.stored_departments()) == {2, 3}
    assert place.stored()["hanmeimei"][3] == {3}  # 4 is outside
    place.put_members({"userid": "LiLei", "department": [4]})
    assert place.changes(place.sync_saying_yes(source)) == [("left_scope", "LiLei")]

    run = place.with_roots(77).sync(source)

    assert (run.status, run.problem, run.detail) == (SyncRun.Status.FAILED, "root", "77")
    assert place.stored().keys() == {"hanmeimei"}


def test_people_whom_the_scope_names_singly_or_by_a_tag_are_found(place: Directory) -> None:
    place.set_scope(userids=["jim"], partyids=[], tagids=[1])

    run = place.sync()

    assert place.stored().keys() == {"jim", "lilei", "hanmeimei"}
    assert place.calls() == {"department/list": 1, "user/list": 1, "agent/get": 1, "tag/get": 1, "user/get": 2}
    assert run.warnings == []
    place.set_scope(userids=["jim", "nobody"], partyids=[2])
    assert place.sync().warnings == [{"code": "named_but_gone", "count": 1, "examples": ["nobody"]}]


def test_withheld_fields_are_unknown_and_stay_known(place: Directory) -> None:
    app = f"companies/{CORPID}/apps/{AGENTID}"
    place.sync()
    lilei = place.member("lilei")
    assert (lilei.mobile, lilei.email, lilei.biz_mail) == (None, None, None)
    assert (lilei.position, lilei.alias) == ("经理", "")

    place.sandbox.control("PATCH", app, {"created_after_2022_06_20": False})
    place.put_members({"userid": "LiLei", "mobile": "13900000009", "email": "new@example.com"})
    place.sync()
    assert place.member("lilei").mobile == "13900000009"

    place.sandbox.control("PATCH", app, {"created_after_2022_06_20": True})
    assert place.sync().counts == {}
    assert place.member("lilei").mobile == "13900000009"


def test_of_two_corps_each_has_its_own_members(place: Directory) -> None:
    whole = seed()
    other = {**whole["companies"][0], "corpid": "ww0000000000000002"}
    place.sandbox.control("POST", "companies", other)
    place.sync()
    theirs = type(place.corp).objects.create(
        name="南海物流", corpid="ww0000000000000002", agentid=AGENTID, secret=other["apps"][0]["secret"]
    )
    theirs.api_base_url = place.sandbox.base_url
    theirs.save()

    Directory(place.sandbox, theirs).sync()

    assert (place.corp.members.count(), theirs.members.count()) == (3, 3)


@pytest.mark.parametrize("problem", [*_PROBLEMS, "broken"])
def test_each_problem_says_what_who_and_where(problem: str) -> None:
    said = explain_run(SyncRun(problem=problem, detail="77"))

    assert all((said.what, said.who, said.where))
    assert ("77" in said.what) == (problem == "root")
    assert explain_run(SyncRun(problem="wecom", errcode=48009)) != explain_run(SyncRun(problem="wecom"))
    assert explain_run(SyncRun()).what == ""


def test_each_warning_names_its_examples() -> None:
    rows = [{"code": code, "count": 2, "examples": ["7", "9"]} for code in _WARNINGS]

    said = describe_warnings(SyncRun(warnings=rows))

    assert len(set(said)) == len(rows)
    assert sum("7" in text and "9" in text for text in said) == len(rows) - 1  # all but "nobody"
    assert describe_warnings(SyncRun()) == []


def test_a_question_tells_the_numbers() -> None:
    asked = {"reason": "share", "leaving": 12, "of": 100, "percent": 5, "roots": ["2", "4"]}

    with translation.override("en"):
        said = describe_question(SyncRun(question=asked))

    assert said[0].startswith("12 of 100 people")
    assert said[1:3] == [
        "That is more than the 5 % that may be disabled without asking.",
        "Of these departments nobody would be left: 2, 4.",
    ]
    assert len(describe_question(SyncRun(question={**asked, "reason": "root"}))) == 3
    assert describe_question(SyncRun()) == []


def test_every_word_in_the_source_has_a_sentence(project_root: Path) -> None:
    source = "".join(path.read_text() for path in sorted((project_root / "integrations" / "directory").glob("*.py")))

    added = set(re.findall(r'\.warn\(\s*"(\w+)"', source))
    stopped = set(re.findall(r'(?:Stop\(|problem=|problem = )"(\w+)"', source))

    assert added == set(_WARNINGS)
    assert stopped <= set(_PROBLEMS)


pytestmark = pytest.mark.django_db


def member(corp: Corp, userid: str = "LiLei", **values: Any) -> Member:
    values = {"userid_folded": userid.lower(), "first_seen_at": START, "changed_at": START, **values}
    return Member.objects.create(corp=corp, userid=userid, **values)


def assert_refused(create: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        create()


def test_the_tables_refuse_what_cannot_be(corp: Corp, other_corp: Corp) -> None:
    one, department = member(corp), Department.objects.create(corp=corp, wecom_department_id=2)
    one.departments.add(department)
    run(corp, "waiting")

    member(other_corp)
    run(other_corp, "running")
    run(corp, "asking")
    assert_refused(lambda: member(corp, "LILEI"))
    assert_refused(lambda: member(corp, ""))
    assert_refused(lambda: member(corp, "jim", presence="deleted"))
    assert_refused(lambda: member(corp, "jim", left_at=START))
    assert_refused(lambda: Department.objects.create(corp=corp, wecom_department_id=2))
    assert_refused(lambda: Member.departments.through.objects.create(member=one, department=department))
    assert_refused(lambda: run(corp, "running"))


def run(corp: Corp, status: str) -> SyncRun:
    return SyncRun.objects.create(corp=corp, trigger="manual", status=status, requested_at=START)


def test_rows_are_seen_by_who_manages_their_corp(corp: Corp, other_corp: Corp) -> None:
    member(corp)
    Department.objects.create(corp=corp, wecom_department_id=2)
    run(corp, "done")
    theirs, others = staff("theirs", corp), staff("others", other_corp)

    for model in (Member, Department, SyncRun):
        rows: Any = model.objects
        assert rows.visible_to(theirs).count() == 1
        assert rows.visible_to(others).count() == 0
