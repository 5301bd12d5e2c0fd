"""The page that says who is told when the product stands still."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from integrations.core.generics import AnyModelAdmin
from integrations.core.reauthentication import ConfirmedChanges
from notifications.models import OperatorContacts
from notifications.models.operators import THE_ONE


@admin.register(OperatorContacts)
class OperatorContactsAdmin(ConfirmedChanges, AnyModelAdmin):
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
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: OperatorContacts | None = None) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: OperatorContacts | None = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: OperatorContacts | None = None) -> bool:
        return self.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one row: straight to it."""
        if not self.has_view_permission(request):
            return super().changelist_view(request, extra_context)
        OperatorContacts.objects.get_or_create(pk=THE_ONE)
        return HttpResponseRedirect(reverse("admin:notifications_operatorcontacts_change", args=[THE_ONE]))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        extra = {"show_save_and_add_another": False, "show_save_and_continue": False, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, extra)

    def response_post_save_change(self, request: HttpRequest, obj: OperatorContacts) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:index"))
