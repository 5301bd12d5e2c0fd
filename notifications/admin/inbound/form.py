"""The forms of an inbound channel: a new one, and its settings."""

from __future__ import annotations

from typing import Any

from django.forms import RadioSelect

from accounts.models import User
from accounts.users.scopes import people_visible_to, sees_all_corps
from integrations.core.generics import AnyModelForm
from integrations.models import Corp
from notifications.inbound import channels
from notifications.models import InboundChannel


class NewChannelForm(AnyModelForm):
    """`person`: the administrator at work and the channel's owner, set by the admin."""

    person: User

    class Meta:
        model = InboundChannel
        fields = ("name", "kind")
        widgets = {"kind": RadioSelect}

    def save(self, commit: bool = True) -> InboundChannel:
        self.instance.owner = self.person
        self.instance.scheme = channels.SCHEMES[InboundChannel.Kind(self.instance.kind)]
        # Whoever manages some companies names one: a channel must not grow with them unasked.
        if not sees_all_corps(self.person):
            self.instance.corp = Corp.objects.visible_to(self.person).order_by("pk").first()
        channel: InboundChannel = super().save(commit=commit)
        return channel


class ChannelForm(AnyModelForm):
    """`person`: the administrator at work, set by the admin."""

    person: User

    class Meta:
        model = InboundChannel
        fields = (
            *("name", "is_enabled", "corp", "reach", "departments", "users", "groups", "with_subdepartments"),
            *("form", "priority", "lifetime_hours", "daily_limit"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "corp" not in fields:  # somebody who may only look
            return
        fields["corp"].queryset = Corp.objects.visible_to(self.person)
        fields["corp"].required = not sees_all_corps(self.person)
        fields["users"].queryset = people_visible_to(self.person)
