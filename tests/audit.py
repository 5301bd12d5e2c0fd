"""The audit trail in tests, which begin with an empty one."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test import RequestFactory

from accounts.models import AuditEntry, User


def clear_trail(**which: Any) -> None:
    """Delete audit entries, which the database otherwise allows nobody to delete."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('guanwecom.removes_old_audit', 'on', true)")
        AuditEntry.objects.filter(**which).delete()
        cursor.execute("SELECT set_config('guanwecom.removes_old_audit', 'off', true)")


def list_visible_entries(person: User) -> QuerySet[AuditEntry]:
    """Return the entries that the administration lists for `person`."""
    request = RequestFactory().get("/admin/accounts/auditentry/")
    request.user = person
    return admin.site.get_model_admin(AuditEntry).get_queryset(request)


def set_trail_time(at: datetime, **which: Any) -> None:
    """Rewrite audit entries with another time. PostgreSQL refuses changes, so they are deleted and made anew."""
    entries = list(AuditEntry.objects.filter(**which))
    clear_trail(**which)
    for entry in entries:
        entry.at = at
    AuditEntry.objects.bulk_create(entries)
