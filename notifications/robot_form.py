"""The form of a group robot: one pastes the webhook address as WeCom shows it, or the key alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from integrations.fields import UNREADABLE_NOTE, Unreadable
from integrations.forms import CompactField, WriteOnlyInput
from integrations.models import Corp
from notifications.models import Robot

if TYPE_CHECKING:
    RobotModelForm = forms.ModelForm[Robot]
else:
    RobotModelForm = forms.ModelForm

_KEY = re.compile(r"[0-9A-Za-z_-]{8,128}")


class RobotForm(RobotModelForm):
    """`person`: the administrator at work, set by the admin."""

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
            # Why not shown? Whoever has the key can write into the group.
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
