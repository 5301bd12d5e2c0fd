"""Forms that ask whether somebody is who they are."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from accounts import policy
from accounts.forms import require_right
from accounts.models import User


class ConfirmForm(forms.Form):
    """Asks the person of `request` for what this site can check; has no fields where it can check nothing."""

    prefix = "_confirm"
    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, *args: Any, request: HttpRequest, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.person = request, person
        if not (policy.is_password_enabled() and person.has_usable_password()):
            del self.fields["password"]

    @sensitive_variables("password")
    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        require_right(self.request, self.person, password, wrong=gettext("The password is wrong."))
        return password

    def is_valid(self) -> bool:
        """Nothing asked is nothing confirmed."""
        return bool(self.fields) and super().is_valid()
