"""The audit trail, in which nobody changes or deletes an entry; its readers may download it as csv."""

import csv
import io
import json
from typing import Any

import pytest
from django.db import ProgrammingError, connection, transaction
from pytest_django import Settings

from accounts.audit import services
from accounts.models import AuditEntry, User
from accounts.users.roles import Role
from integrations.models import Corp
from tests.accounts.people import signed_in, with_role
from tests.audit import clear_trail

pytestmark = pytest.mark.django_db
EXPORT = "/admin/accounts/auditentry/export.csv"


@pytest.fixture
def entry() -> AuditEntry:
    clear_trail()
    services.record(action=AuditEntry.Action.DONE, name="=cmd|' /C calc'!A1", note="a note", changes=[["a", 1, "二"]])
    return AuditEntry.objects.get()


def test_the_database_refuses_to_change_an_entry(entry: AuditEntry) -> None:
    for change in (
        lambda: AuditEntry.objects.update(note="another"),
        lambda: AuditEntry.objects.all().delete(),
        lambda: entry.delete(),
        lambda: entry.save(),
        lambda: _execute("TRUNCATE accounts_auditentry CASCADE"),
        # Not even the job that removes old entries may do it.
        lambda: _execute("SET LOCAL guanwecom.removes_old_audit = 'on'; TRUNCATE accounts_auditentry CASCADE"),
    ):
        with pytest.raises(ProgrammingError, match="the audit trail is append-only"), transaction.atomic():
            change()

    assert AuditEntry.objects.get().note == "a note"


def test_only_the_mark_of_an_unsent_entry_is_cleared_and_only_once(settings: Settings) -> None:
    clear_trail()
    settings.AUDIT_SYSLOG = ("tcp", ("127.0.0.1", 9))
    services.record(action=AuditEntry.Action.DONE, note="a note", changes=[["a", 1, None]])
    values = AuditEntry.objects.values().get()

    for change in ({"note": "another"}, {"changes": [["a", 1.0, None]]}, {"actor_name": "somebody"}):
        for mark in ({}, {"is_unsent": False}):
            with pytest.raises(ProgrammingError, match="the audit trail is append-only"), transaction.atomic():
                AuditEntry.objects.update(**change, **mark)
    AuditEntry.objects.update(is_unsent=False)
    with pytest.raises(ProgrammingError, match="the audit trail is append-only"), transaction.atomic():
        AuditEntry.objects.update(is_unsent=True)

    assert AuditEntry.objects.values().get() == {**values, "is_unsent": False}


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_the_export_holds_what_the_list_shows(root: User, entry: AuditEntry, corp: Corp) -> None:
    """Show somebody of one company its entries only. The trail records the download."""
    services.record(action=AuditEntry.Action.UNLOCKED, note="another")

    answer = signed_in(root).get(f"{EXPORT}?action__exact=done&q=note")

    assert answer.headers["Content-Disposition"].startswith('attachment; filename="guanwecom-audit-')
    (row,) = _rows_of(answer)
    assert (row["id"], row["action"], row["note"]) == (str(entry.pk), "done", "a note")
    assert row["at"] == entry.at.isoformat()
    assert json.loads(row["changes"]) == [["a", 1, "二"]]
    # No cell is a formula (CSV injection).
    assert row["subject"] == "'=cmd|' /C calc'!A1"
    taken = AuditEntry.objects.filter(actor=root, action="done").latest("pk")
    assert (taken.note, taken.subject) == ("csv", "审计日志")
    services.record(action=AuditEntry.Action.DONE, note="of another company", corps=[10**6])
    services.record(action=AuditEntry.Action.DONE, note="of theirs", corps=[corp.pk])
    own = signed_in(with_role("own", Role.SYSTEM_ADMINISTRATOR, corp)).get(EXPORT)
    notes = [row["note"] for row in _rows_of(own)]
    assert "of theirs" in notes
    assert "of another company" not in notes


def _rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
