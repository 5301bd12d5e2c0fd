"""The page that says who is told when the product stands still."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from integrations.admin.base import OneRowAdmin
from integrations.core.reauthentication import ConfirmedChanges
from notifications.models import OperatorContacts


@admin.register(OperatorContacts)
class OperatorContactsAdmin(ConfirmedChanges, OneRowAdmin):
    """One row, for superusers: it concerns the whole product."""

    fieldsets = (
        (
            None,
            {
                "fields": ("emails", "robot"),
                "description": _(
                    "They are told once when pushes stand still or the database does not answer, and once when all "
                    "runs again. Addresses in .env (OPERATOR_EMAILS, OPERATOR_ROBOT_URL) are told, too."
                ),
            },
        ),
    )

    def has_view_permission(self, request: HttpRequest, obj: OperatorContacts | None = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: OperatorContacts | None = None) -> bool:
        return self.has_view_permission(request)
