"""Group robots: a name, whose group it is, and a key that is never shown again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from integrations.confirmed_changes import ConfirmedChanges
from notifications.admin.lists import administrator
from notifications.models import Robot
from notifications.robot_form import RobotForm

if TYPE_CHECKING:
    RobotAdminBase = admin.ModelAdmin[Robot]
else:
    RobotAdminBase = admin.ModelAdmin


@admin.register(Robot)
class RobotAdmin(ConfirmedChanges, RobotAdminBase):
    form = RobotForm
    list_display = ("name", "corp_name", "created_at")
    search_fields = ("name",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Robot]:
        return Robot.objects.visible_to(request.user).select_related("corp").only("name", "created_at", "corp__name")

    def get_form(self, request: HttpRequest, obj: Robot | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.person = administrator(request)
        if "corp" in form.base_fields:
            widget: Any = form.base_fields["corp"].widget
            widget.can_add_related = widget.can_change_related = False
            widget.can_view_related = widget.can_delete_related = False
        return form

    def get_fields(self, request: HttpRequest, obj: Robot | None = None) -> tuple[str, ...]:
        """Those who may only look see no write-only field: it would be empty."""
        may_change = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        return ("name", "corp", "webhook") if may_change else ("name", "corp")

    @admin.display(description=_("company"), ordering="corp__name")
    def corp_name(self, robot: Robot) -> str:
        return robot.corp.name
