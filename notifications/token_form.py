"""The form that makes a token of the HTTP API: for what, how far it reaches, how long it lives."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from integrations.models import Corp
from notifications.models import ApiToken, Subscription
from notifications.visibility import sees_all_corps

if TYPE_CHECKING:
    TokenModelForm = forms.ModelForm[ApiToken]
else:
    TokenModelForm = forms.ModelForm

LIFETIMES = ((30, _("30 days")), (90, _("90 days")), (365, _("1 year")), (730, _("2 years")))
Reach = ApiToken.Reach


def _new_form_key() -> str:
    return uuid.uuid4().hex


class ApiTokenForm(TokenModelForm):
    """`person`: the administrator at work and the token's owner, set by the admin."""

    person: User
    days = forms.TypedChoiceField(label=_("expires in"), choices=LIFETIMES, coerce=int, initial=365)
    page_key = forms.CharField(
        widget=forms.HiddenInput, initial=_new_form_key, validators=[RegexValidator(r"^[0-9a-f]{32}\Z")]
    )

    class Meta:
        model = ApiToken
        fields = ("name", "may_run", "may_read", "may_alert", "reach", "corps", "subscriptions")
        widgets = {"reach": forms.RadioSelect, "corps": forms.CheckboxSelectMultiple}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "corps" not in fields:  # a token that there is has no form
            return
        fields["corps"].queryset = Corp.objects.visible_to(self.person).order_by("name")
        fields["subscriptions"].queryset = Subscription.objects.visible_to(self.person)
        # Whoever sees only some companies names what a token reaches: it must not grow with them unasked.
        if not sees_all_corps(self.person):
            fields["reach"].choices = [one for one in Reach.choices if one[0] != Reach.EVERYTHING]

    def clean_page_key(self) -> str:
        key: str = self.cleaned_data["page_key"]
        if ApiToken.objects.filter(form_key=key).exists():
            raise ValidationError(made_already())
        return key

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not any(cleaned.get(name) for name in ("may_run", "may_read", "may_alert")):
            raise ValidationError(_("Choose at least one thing that the token may do."))
        reach = cleaned.get("reach")
        if cleaned.get("may_alert") and reach == Reach.SUBSCRIPTIONS:
            self.add_error("reach", _("Alerts go to receivers: let the token reach companies, or everything."))
        if reach == Reach.CORPS and not cleaned.get("corps"):
            self.add_error("corps", _("Choose at least one company."))
        if reach == Reach.SUBSCRIPTIONS and not cleaned.get("subscriptions"):
            self.add_error("subscriptions", _("Choose at least one subscription."))
        # What is not meant is not kept: a list that says nothing would be read as if it did.
        if reach != Reach.CORPS and "corps" in cleaned:
            cleaned["corps"] = Corp.objects.none()
        if reach != Reach.SUBSCRIPTIONS and "subscriptions" in cleaned:
            cleaned["subscriptions"] = Subscription.objects.none()
        return cleaned

    def save(self, commit: bool = True) -> ApiToken:
        self.instance.owner = self.person
        self.instance.form_key = self.cleaned_data["page_key"]
        self.instance.expires_at = timezone.now() + timedelta(days=self.cleaned_data["days"])
        token: ApiToken = super().save(commit=commit)
        return token


def made_already() -> str:
    return str(_("This page has made its token already; it is shown once. Revoke it if you have not kept it."))
