"""Forms of alert receivers and routes. What cannot work is refused with a sentence."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.users.scopes import sees_all_corps
from integrations.core.page_versions import VersionedForm
from integrations.models import Corp
from notifications.admin.matcher_fields import MatchersField
from notifications.admin.subscription_forms import (
    FIELD_CLASSES,
    RECIPIENT_FIELDS,
    RecipientsFormPart,
    audience_from,
    refusal,
)
from notifications.models import AlertReceiver, AlertRoute, ApiToken
from notifications.subscriptions.recipients import reachability


class AlertReceiverForm(RecipientsFormPart):
    """`needs_people`: whether one that names nobody is refused."""

    needs_people = True

    class Meta:
        model = AlertReceiver
        fields = ("name", "corp", *RECIPIENT_FIELDS)
        field_classes = FIELD_CLASSES
        help_texts = {
            "robot": _(
                "Only for the channel “group robot”: everybody in its group reads it, and nobody there can act."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "corp" not in fields:  # somebody who may only look gets no fields
            return
        self.offer_recipients()
        fields["corp"].queryset = Corp.objects.visible_to(self.person)
        fields["corp"].required = not sees_all_corps(self.person)
        fields["departments"].help_text = _(
            "Whoever is there when an alert is sent, as the last synchronisation of the directory showed it."
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.check_channel(cleaned)
        robot, corp = cleaned.get("robot"), cleaned.get("corp")
        if robot is not None and corp is not None and robot.corp_id != corp.pk:
            self.add_error("robot", _("This robot's group is of another company."))
        if not self.errors:
            self.found = reachability(audience_from(cleaned, corp=corp), seen_by=self.person)
            # People who cannot be reached now may be later: they are named after saving.
            if self.needs_people and not self.found.concerns_somebody and not self.found.unreachable_count:
                raise ValidationError(refusal(self.found))
        return cleaned


class AlertRouteForm(VersionedForm):
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
            *("gather_seconds", "repeat_minutes", "notifies_recovery"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "receiver" not in fields:
            return
        fields["receiver"].queryset = AlertReceiver.objects.visible_to(self.person).shared()
        chosen = self.instance.senders.values_list("pk", flat=True) if self.instance.pk else []
        seen = ApiToken.objects.visible_to(self.person).filter(may_alert=True, revoked_at__isnull=True)
        fields["senders"].queryset = seen | ApiToken.objects.filter(pk__in=chosen)
        if self.instance.is_limited_to_senders and not chosen:
            fields["senders"].help_text = _(
                "All its senders were deleted, so it takes nothing. Saved without senders, it takes alerts of every "
                "token that reaches this company."
            )

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if "senders" in self.cleaned_data:
            self.instance.is_limited_to_senders = bool(self.cleaned_data["senders"])
        return cleaned


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
