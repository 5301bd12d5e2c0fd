"""Admin pages of group robots. The form takes the webhook address, or only the key."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from integrations.admin.base import CompactField, WriteOnlyInput
from integrations.core.admin_pages import AnyModelAdmin, ConfirmedChanges, VersionedForm
from integrations.models import Corp
from integrations.models.fields import UNREADABLE_NOTE, Unreadable
from notifications.admin.base import administrator, for_person
from notifications.delivery.runs.ownership import end_page_rights_of_robot
from notifications.models import Robot
from notifications.tasks import enqueue_runs

_KEY = re.compile(r"[0-9A-Za-z_-]{8,128}")


class RobotForm(VersionedForm):
    """`person`: the administrator at work, set by the admin."""

    version_columns = ("key",)
    person: User
    webhook = CompactField(
        label=capfirst(_("webhook address")),
        required=False,
        widget=WriteOnlyInput,
        help_text=_(
            "In WeCom: the group → message push (group robots) → the robot's page. Stored encrypted, never shown. "
            "Empty: the stored one stays."
        ),
    )

    class Meta:
        model = Robot
        fields = ("name", "corp")
        # The model's example is a Chinese name.
        help_texts = {"name": _("As people know the group, for example “Daily sales”.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "corp" in self.fields:
            corp: Any = self.fields["corp"]
            corp.queryset = Corp.objects.visible_to(self.person)
        if "webhook" in self.fields:
            self.fields["webhook"].required = self.instance._state.adding
            if isinstance(self.instance.key, Unreadable):
                self.fields["webhook"].help_text = UNREADABLE_NOTE

    def clean_webhook(self) -> str:
        pasted: str = self.cleaned_data["webhook"]
        if not pasted:
            return ""
        key = key_of(pasted)
        if not _KEY.fullmatch(key):
            # Not shown: whoever has the key can write into the group.
            raise ValidationError(_("This is no webhook address: it ends in ?key= and the robot's key."))
        return key

    def save(self, commit: bool = True) -> Robot:
        key = self.cleaned_data.get("webhook")
        if key:
            self.instance.key = key
        robot: Robot = super().save(commit=commit)
        return robot


def key_of(pasted: str) -> str:
    """The key in a webhook address, or what was pasted."""
    if "://" not in pasted:
        return pasted
    try:
        return parse_qs(urlsplit(pasted).query).get("key", [""])[0]
    except ValueError:
        return ""


# --- Group robots: a name, whose group it is, and a key that is never shown again ---


@admin.register(Robot)
class RobotAdmin(ConfirmedChanges, AnyModelAdmin):
    form = RobotForm
    empty_list = _("A robot writes into a group of WeCom. Add it with the webhook address that WeCom shows for it.")
    list_display = ("name", "corp_name", "created_at")
    search_fields = ("name",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Robot]:
        return Robot.objects.visible_to(request.user).select_related("corp").only("name", "created_at", "corp__name")

    def get_form(self, request: HttpRequest, obj: Robot | None = None, change: bool = False, **kwargs: Any) -> Any:
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, ["corp"])

    def get_fields(self, request: HttpRequest, obj: Robot | None = None) -> tuple[str, ...]:
        """Those who may only look see no write-only field: it would be empty."""
        may_change = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        return ("name", "corp", "webhook") if may_change else ("name", "corp")

    def save_model(self, request: HttpRequest, obj: Robot, form: Any, change: bool) -> None:
        if change and form.cleaned_data.get("webhook"):
            enqueue_runs(end_page_rights_of_robot(obj, by=administrator(request), now=timezone.now()))
        super().save_model(request, obj, form, change)

    @admin.display(description=_("company"), ordering="corp__name")
    def corp_name(self, robot: Robot) -> str:
        return robot.corp.name
