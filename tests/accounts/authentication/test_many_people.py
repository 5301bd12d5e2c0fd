"""Signing in among 100,000 people: how many statements, and by which index."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.authentication import backends
from accounts.models import DirectoryPolicy, User, WeComAccount
from integrations.core.client_factory import wecom_client
from integrations.models import Corp, Member
from tests.accounts.conftest import Visitor, make_person
from tests.accounts.wecom import WeCom

pytestmark = pytest.mark.django_db
PEOPLE = 100_000
CODE, OTHER_CODE = "CODE-of_one.person~1", "CODE-of_one.person~2"
LARGE_TABLES = ("accounts_user", "accounts_wecomaccount", "integrations_member")


@pytest.fixture
def crowd(corp: Corp) -> None:
    """So many other people of the same company, each copied from the directory, too."""
    DirectoryPolicy.objects.create(corp=corp, mode="link")
    first = make_person("p0", corp, "P0")
    now = timezone.now()
    member = Member.objects.create(
        corp=corp, userid="P0", userid_folded="p0", status="active", first_seen_at=now, changed_at=now
    )
    repeat(first, f"generate_series(1, {PEOPLE})", username="'p' || n")
    userids = {"userid": "'P' || n", "userid_folded": "'p' || n"}
    others = f"(SELECT id AS n FROM accounts_user WHERE username LIKE 'p%' AND id <> {first.pk})"  # noqa: S608  # a key
    repeat(first.wecom_accounts.get(), others, user_id="n", **userids)
    repeat(member, others, **userids)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def repeat(row: Model, numbers: str, **values: str) -> None:
    """Insert the row again for each `n` of `numbers`, with other `values` in some columns; all are SQL."""
    columns = [field.column or "" for field in row._meta.concrete_fields if not field.primary_key]
    chosen = ", ".join(values.get(column, f'old."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    table = f'"{row._meta.db_table}"'
    source = f"{table} old, {numbers} AS numbers(n) WHERE old.id = {row.pk}"
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {source}")  # noqa: S608  # our own words


def touching(queries: CaptureQueriesContext) -> list[str]:
    """The statements that read a large table."""
    tables = rf"^\s*SELECT .*(FROM|JOIN) \"?({'|'.join(LARGE_TABLES)})\b"
    return [one["sql"] for one in queries if re.search(tables, one["sql"], re.DOTALL)]


def plan(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(line for (line,) in cursor.fetchall())


def test_signing_in_takes_two_look_ups_in_an_index(
    corp: Corp, person: User, phone: Visitor, wecom: WeCom, crowd: None
) -> None:
    assert WeComAccount.objects.count() > PEOPLE
    assert Member.objects.count() > PEOPLE
    wecom.gives(CODE, userid="LILEI")

    with CaptureQueriesContext(connection) as queries:
        code = backends.AuthorizationCode(CODE)
        assert backends.person_for_code(client=wecom_client(corp), corp=corp, code=code, now=timezone.now()) == person

    account, member = map(plan, touching(queries))
    assert "Index Scan using one_account_per_wecom_identity on accounts_wecomaccount" in account
    assert "Index Scan using one_row_per_wecom_member on integrations_member" in member
    # The whole request, with the session that it begins.
    wecom.gives(OTHER_CODE, userid="LILEI")
    state = phone.begin(corp)
    with CaptureQueriesContext(connection) as queries:
        phone.arrive(corp, code=OTHER_CODE, state=state)
    assert phone.user_id == person.pk
    plans = [plan(sql) for sql in touching(queries)]
    assert plans
    assert [one for one in plans if re.search(rf"Seq Scan on ({'|'.join(LARGE_TABLES)})", one)] == []
