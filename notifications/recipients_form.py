"""The part of a form that says who gets something, and how: of subscriptions and of alert receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.department_choice import DepartmentsField
from accounts.models import User
from accounts.visibility import people_visible_to
from notifications.attribute_rules import rules_of
from notifications.models import Channel, Robot, RulesMatch
from notifications.recipients import Reachability
from notifications.rules_field import RulesField
from notifications.sources import Audience

if TYPE_CHECKING:
    from integrations.models import Corp

    AddressedModelForm = forms.ModelForm[Any]
else:
    AddressedModelForm = forms.ModelForm

RECIPIENT_FIELDS = (
    *("to_everyone", "users", "groups", "departments", "with_subdepartments", "rules_match"),
    *("channel", "robot", "fallback_channel"),
)
# As a fieldset shows them.
WHO_FIELDS = ("to_everyone", "users", "groups", "departments", "with_subdepartments", "rules", "rules_match")
CHANNEL_FIELDS = ("channel", "robot", "fallback_channel")
FIELD_CLASSES = {"departments": DepartmentsField}


class RecipientsFormPart(AddressedModelForm):
    """`person`: the administrator at work, set by the admin. After cleaning, `found` says who would be reached.

    A form that has this part names RECIPIENT_FIELDS and FIELD_CLASSES in its Meta.
    """

    person: User
    found: Reachability | None = None
    rules = RulesField(
        label=_("attribute rules"),
        required=False,
        help_text=_(
            "Whoever matches when a run begins. “is one of”: several values, with semicolons between them. “contains”: "
            "of a text a part, of several values one. Capital and small letters are the same."
        ),
    )

    def offer_recipients(self) -> None:
        """What this administrator may choose. Whoever is chosen already may stay, also where unseen."""
        fields: dict[str, Any] = self.fields
        is_known = self.instance.pk is not None
        fields["robot"].queryset = Robot.objects.visible_to(self.person)
        fields["rules_match"].required = False  # left out, it stays as it is
        if is_known:
            self.initial["rules"] = list(rules_of(self.instance))
        chosen = self.instance.users.values_list("pk", flat=True) if is_known else []
        fields["users"].queryset = people_visible_to(self.person) | User.objects.filter(pk__in=chosen)
        chosen = self.instance.departments.values_list("pk", flat=True) if is_known else []
        fields["departments"].offer(seen_by=self.person, chosen=list(chosen))

    def check_channel(self, cleaned: dict[str, Any]) -> None:
        """A robot stands where a robot is chosen, and nowhere else."""
        if cleaned.get("channel") != Channel.ROBOT:
            cleaned["robot"] = None
        elif cleaned.get("robot") is None and "robot" not in self.errors:
            self.add_error("robot", _("Choose the robot of the group."))
        if cleaned.get("channel") != Channel.WECOM:
            cleaned["fallback_channel"] = ""


def audience_from(cleaned: dict[str, Any], *, corp: Corp | None) -> Audience:
    """The people whom a form's values choose. `corp`: the only company that is meant."""
    return Audience(
        user_ids=[person.pk for person in cleaned.get("users", ())],
        group_ids=[group.pk for group in cleaned.get("groups", ())],
        to_everyone=bool(cleaned.get("to_everyone")),
        corp_id=None if corp is None else corp.pk,
        department_ids=[department.pk for department in cleaned.get("departments", ())],
        with_subdepartments=bool(cleaned.get("with_subdepartments")),
        rules=tuple(cleaned.get("rules", ())),
        rules_match=cleaned.get("rules_match") or RulesMatch.ALL,
        channel=cleaned.get("channel") or Channel.WECOM,
        fallback_channel=cleaned.get("fallback_channel", ""),
        robot_id=cleaned["robot"].pk if cleaned.get("robot") else None,
    )
