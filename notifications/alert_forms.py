"""Forms of alert receivers and routes: what cannot work is refused at saving, with a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.department_choice import DepartmentsField
from accounts.models import User
from accounts.visibility import people_visible_to
from integrations.models import Corp
from notifications.forms import refusal
from notifications.matchers_field import MatchersField
from notifications.models import AlertReceiver, AlertRoute, ApiToken, Channel, Robot
from notifications.recipients import Audience, Reachability, reachability
from notifications.visibility import sees_all_corps

if TYPE_CHECKING:
    ReceiverModelForm = forms.ModelForm[AlertReceiver]
    RouteModelForm = forms.ModelForm[AlertRoute]
else:
    ReceiverModelForm = RouteModelForm = forms.ModelForm


class AlertReceiverForm(ReceiverModelForm):
    """`person`: the administrator at work, set by the admin. After cleaning, `found` says who would be reached."""

    person: User
    found: Reachability | None = None

    class Meta:
        model = AlertReceiver
        fields = (
            *("name", "corp", "to_everyone", "users", "groups", "departments", "with_subdepartments"),
            *("channel", "robot", "fallback_channel"),
        )
        field_classes = {"departments": DepartmentsField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "corp" not in fields:  # somebody who may only look gets no fields
            return
        fields["corp"].queryset = Corp.objects.visible_to(self.person)
        fields["corp"].required = not sees_all_corps(self.person)
        fields["robot"].queryset = Robot.objects.visible_to(self.person)
        # Whoever is chosen already may stay, also where this administrator does not see the person.
        chosen = self.instance.users.values_list("pk", flat=True) if self.instance.pk else []
        fields["users"].queryset = people_visible_to(self.person) | User.objects.filter(pk__in=chosen)
        chosen = self.instance.departments.values_list("pk", flat=True) if self.instance.pk else []
        fields["departments"].offer(seen_by=self.person, chosen=list(chosen))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self._check_channel(cleaned)
        if not self.errors:
            self.found = reachability(audience_from(cleaned), seen_by=self.person)
            # People who cannot be reached now may be later: they are named after saving.
            if not self.found.concerns_somebody and not self.found.unreachable_count:
                raise ValidationError(refusal(self.found))
        return cleaned

    def _check_channel(self, cleaned: dict[str, Any]) -> None:
        robot, corp = cleaned.get("robot"), cleaned.get("corp")
        if cleaned.get("channel") != Channel.ROBOT:
            cleaned["robot"] = None
        elif robot is None:
            if "robot" not in self.errors:
                self.add_error("robot", _("Choose the robot of the group."))
        elif corp is not None and robot.corp_id != corp.pk:
            self.add_error("robot", _("This robot's group is of another company."))
        if cleaned.get("channel") != Channel.WECOM:
            cleaned["fallback_channel"] = ""


def audience_from(cleaned: dict[str, Any]) -> Audience:
    """The people whom the values of a receiver's form choose."""
    return Audience(
        user_ids=[person.pk for person in cleaned.get("users", ())],
        group_ids=[group.pk for group in cleaned.get("groups", ())],
        to_everyone=bool(cleaned.get("to_everyone")),
        corp_id=cleaned["corp"].pk if cleaned.get("corp") else None,
        department_ids=[department.pk for department in cleaned.get("departments", ())],
        with_subdepartments=bool(cleaned.get("with_subdepartments")),
        channel=cleaned.get("channel") or Channel.WECOM,
        fallback_channel=cleaned.get("fallback_channel", ""),
        robot_id=cleaned["robot"].pk if cleaned.get("robot") else None,
    )


class AlertRouteForm(RouteModelForm):
    """`person`: the administrator at work, set by the admin."""

    person: User
    matchers = MatchersField(
        label=_("label matchers"),
        help_text=_(
            "One a line, all must fit: severity=critical, team!=web, instance=~db-*|cache-?, job!~test-*. Behind =~ "
            "stands a pattern with * and ?, no regular expression. Empty: every alert."
        ),
    )

    class Meta:
        model = AlertRoute
        fields = (
            *("name", "is_enabled", "position", "matchers", "goes_on", "senders", "receiver"),
            *("severity_label", "critical_values", "warning_values", "default_severity"),
            *("gather_seconds", "repeat_minutes", "tells_recovery"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "receiver" not in fields:
            return
        fields["receiver"].queryset = AlertReceiver.objects.visible_to(self.person)
        chosen = self.instance.senders.values_list("pk", flat=True) if self.instance.pk else []
        seen = ApiToken.objects.visible_to(self.person).filter(may_alert=True, revoked_at__isnull=True)
        fields["senders"].queryset = seen | ApiToken.objects.filter(pk__in=chosen)


class LabelsForm(forms.Form):
    """Labels to try routes with."""

    labels = MatchersField(
        required=True,
        label=_("labels of an alert"),
        help_text=_("One a line, for example alertname=DiskFull and severity=critical."),
    )

    def clean_labels(self) -> dict[str, str]:
        rows: list[list[str]] = self.cleaned_data["labels"]
        if any(comparison != "=" for _name, comparison, _value in rows):
            raise ValidationError(_("Write each label as name=value."))
        return {name: value for name, _comparison, value in rows}
