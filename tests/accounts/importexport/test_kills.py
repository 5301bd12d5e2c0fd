"""kill -9 in the middle of imports: while a file is checked, and while it is written, in both ways."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from django.utils import timezone

from accounts.importexport import jobs
from accounts.models import Attribute, AuditEntry, ImportRow, PeopleImport, User, WeComAccount
from accounts.users.attributes import values_of
from integrations.models import Corp
from tests.accounts.dying import Workers
from tests.accounts.importexport.files import csv_bytes

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

PEOPLE = 40
KILLS = 10
FILES_AT_MOST = 12


@pytest.mark.parametrize("mode", ["all", "skip"])
def test_ten_kills_over_imports(workers: Workers, editor: User, corp: Corp, number: Attribute, mode: str) -> None:
    """At most three workers die over each half of a file; then the file is as whole as if one had lived."""
    User.objects.bulk_create(User(username=f"p{one:02}") for one in range(PEOPLE))
    chance = random.Random(20261125)  # noqa: S311  # moments, not secrets
    killed, left = 0, Counter[str]()
    for version in range(FILES_AT_MOST):
        run = jobs.request_import(
            editor=editor,
            ip=None,
            file_name="people.csv",
            content=people_of(version, corp),
            corp=None,
            match_by="username",
            clears_empty=False,
            now=timezone.now(),
        )
        for moments, ends in ((60, "asking"), (100, "done")):
            for dies_at in (*(chance.randrange(1, moments) for _kill in range(3)), 0):
                died = not workers.work("imports", dies_at=dies_at)
                run.refresh_from_db()
                killed += died
                left[run.status] += died
            assert run.status == ends
            assert ends == "done" or jobs.confirm_import(run=run, mode=mode, editor=editor, ip=None, now=timezone.now())
        check(run, version, corp, number)
        if killed >= KILLS:
            break

    assert killed >= KILLS
    assert left["waiting"] > 0
    assert left["confirmed"] > 0


def people_of(version: int, corp: Corp) -> bytes:
    rows = (
        [f"p{one:02}", f"N{version}-{one}", corp.name, f"u{version}-{one}", f"{version}-{one}"] for one in range(PEOPLE)
    )
    return csv_bytes(["用户名", "姓名", "企业微信公司名称", "企业微信账号", "工号"], *rows)


def check(run: PeopleImport, version: int, corp: Corp, number: Attribute) -> None:
    """What the file says is here, once, and the trail says each change once."""
    people = list(User.objects.filter(username__startswith="p").order_by("username"))
    assert [one.name for one in people] == [f"N{version}-{one}" for one in range(PEOPLE)]
    userids = WeComAccount.objects.order_by("user__username").values_list("corp", "userid", "is_primary")
    assert list(userids) == [(corp.pk, f"u{version}-{one}", True) for one in range(PEOPLE)]
    assert values_of(attribute=number) == {one.pk: [f"{version}-{place}"] for place, one in enumerate(people)}
    assert run.counts == {"same": 0, "change": 0, "applied": PEOPLE, "refused": 0}
    assert ImportRow.objects.filter(run=run, outcome="applied").count() == PEOPLE
    said = Counter(str(changes) for changes in AuditEntry.objects.values_list("changes", flat=True))
    names = [[["name", f"N{version - 1}-{one}" if version else None, f"N{version}-{one}"]] for one in range(PEOPLE)]
    assert {said[str(one)] for one in names} == {1}
