"""Rules that the database holds, and who may see which rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from integrations.models import Corp, Department, Member, Membership, SyncRun
from tests.integrations.conftest import CORPID, staff
from tests.integrations.directory.place import START

pytestmark = pytest.mark.django_db


@pytest.fixture
def corp() -> Corp:
    return Corp.objects.create(name="北山制造", corpid=CORPID, agentid=1000002, secret="the-secret")


@pytest.fixture
def other_corp() -> Corp:
    return Corp.objects.create(name="南海物流", corpid="ww" + "9" * 16, agentid=1000003, secret="another-secret")


def member(corp: Corp, userid: str = "LiLei", **values: Any) -> Member:
    values = {"userid_folded": userid.lower(), "first_seen_at": START, "changed_at": START, **values}
    return Member.objects.create(corp=corp, userid=userid, **values)


def refused(create: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        create()


def test_a_userid_is_one_row_per_corp(corp: Corp, other_corp: Corp) -> None:
    member(corp)

    member(other_corp)
    refused(lambda: member(corp, "LILEI"))


def test_who_is_not_here_is_so_since_a_time(corp: Corp) -> None:
    member(corp, presence="deleted", left_at=START)

    refused(lambda: member(corp, "jim", presence="deleted"))
    refused(lambda: member(corp, "jim", left_at=START))


def test_a_member_has_a_userid(corp: Corp) -> None:
    refused(lambda: member(corp, ""))


def test_a_department_is_one_row_per_corp_and_a_membership_one_per_department(corp: Corp) -> None:
    department = Department.objects.create(corp=corp, wecom_department_id=2)
    one = member(corp)
    Membership.objects.create(member=one, department=department)

    refused(lambda: Department.objects.create(corp=corp, wecom_department_id=2))
    refused(lambda: Membership.objects.create(member=one, department=department))


def run(corp: Corp, status: str) -> SyncRun:
    return SyncRun.objects.create(corp=corp, trigger="manual", source="app", status=status, requested_at=START)


@pytest.mark.parametrize("status", ["waiting", "running"])
def test_a_corp_has_one_active_run(corp: Corp, other_corp: Corp, status: str) -> None:
    run(corp, "waiting")

    run(other_corp, status)
    run(corp, "asking")
    run(corp, "done")
    refused(lambda: run(corp, status))


def test_rows_are_seen_by_who_manages_their_corp(corp: Corp, other_corp: Corp) -> None:
    member(corp)
    Department.objects.create(corp=corp, wecom_department_id=2)
    run(corp, "done")
    theirs, others = staff("theirs", corp), staff("others", other_corp)

    for model in (Member, Department, SyncRun):
        rows: Any = model.objects
        assert rows.visible_to(theirs).count() == 1
        assert rows.visible_to(others).count() == 0


def test_looking_up_a_userid_takes_one_index(corp: Corp) -> None:
    Member.objects.bulk_create(
        Member(corp=corp, userid=f"u{n}", userid_folded=f"u{n}", first_seen_at=START, changed_at=START)
        for n in range(5000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    found = Member.objects.filter(corp=corp, userid_folded="u77")
    plan = found.explain()

    assert "one_row_per_wecom_member" in plan
    assert found.get().userid == "u77"
