"""Forms for passwords and for codes of an authenticator app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth import forms as auth_forms
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from accounts.authentication import passwords, totp
from accounts.models import User

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


_TOO_MANY_CODES = ngettext_lazy(
    "Too many wrong codes. Try again in %(count)d minute.",
    "Too many wrong codes. Try again in %(count)d minutes.",
    "count",
)
_TOO_MANY_PASSWORDS = ngettext_lazy(
    "Too many wrong passwords. Try again in %(count)d minute.",
    "Too many wrong passwords. Try again in %(count)d minutes.",
    "count",
)


def _make_code_field(*, is_required: bool = True) -> forms.CharField:
    attrs = {"autocomplete": "one-time-code", "inputmode": "text", "autofocus": is_required}
    label = _("Code of your authenticator app")
    return forms.CharField(label=label, max_length=40, required=is_required, widget=forms.TextInput(attrs=attrs))


@sensitive_variables("code")
def _require_code(person: User, code: str) -> str:
    try:
        if totp.check_code(person=person, code=code, now=timezone.now()):
            return code
    except passwords.LockedOut as locked:
        left = {"count": locked.lock.minutes_left(timezone.now())}
        raise forms.ValidationError(_TOO_MANY_CODES, code="locked", params=left) from locked
    raise forms.ValidationError(gettext("The code is wrong. Enter the one that the app shows now."), code="wrong")


class CodeForm(forms.Form):
    """Form for a code of the person's authenticator app, or a recovery code."""

    code = _make_code_field()

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person

    def clean_code(self) -> str:
        return _require_code(self.person, self.cleaned_data["code"])


class ConfirmForm(forms.Form):
    """Form to confirm one's presence. It has fields for the password and the code, if the person has them."""

    prefix = "_confirm"
    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, *args: Any, request: HttpRequest, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.person = request, person
        if not passwords.has_password(person):
            del self.fields["password"]
        if totp.find_device(person) is not None:
            self.fields["code"] = _make_code_field(is_required=False)

    @sensitive_variables("password")
    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if password:
            require_password(self.request, self.person, password, wrong=gettext("The password is wrong."))
        return password

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        return _require_code(self.person, code) if code else code

    def is_valid(self) -> bool:
        """Return whether at least one field is filled in, and none is wrong."""
        return super().is_valid() and any(self.cleaned_data.values())


class PasswordOnlySaveMixin:
    """Mixin for Django's password forms that saves only the password column. Those forms save the whole row as it was
    read: a person who was disabled meanwhile would become active again."""

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit=False)  # type: ignore[misc]  # a method of Django's form
        if commit:
            user.save(update_fields=["password"])
        return user


class OwnPasswordForm(PasswordOnlySaveMixin, AdminPasswordChangeForm):
    """Form for one's own password. Wrong old passwords are counted and limited as at sign-in."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    @sensitive_variables("password")
    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        require_password(self.request, self.user, password, wrong=self.error_messages["password_incorrect"])
        return password


@sensitive_variables("password")
def require_password(request: HttpRequest, user: User, password: str, *, wrong: StrOrPromise) -> None:
    """Raise ValidationError unless `password` is the password of `user`. The message is `wrong`, or the time left if
    locked out."""
    try:
        if passwords.check_password_of(request=request, user=user, password=password):
            return
    except passwords.LockedOut as locked:
        left = {"count": locked.lock.minutes_left(timezone.now())}
        raise forms.ValidationError(_TOO_MANY_PASSWORDS, code="locked", params=left) from locked
    raise forms.ValidationError(wrong, code="password_incorrect")


class LoginForm(auth_forms.AuthenticationForm):
    """Form for username and password. No field has the focus: a phone's keyboard would cover the sign-in with WeCom."""

    remember = forms.BooleanField(
        label=_("Keep me signed in"),
        required=False,
        help_text=_(
            "For 30 days on this device, shorter for administrators. Only tick it on a device that nobody else uses."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs.pop("autofocus", None)
        # The Chinese of Django's own sentence asks for "a correct username".
        wrong = _("The username or the password is wrong. Upper and lower case count in both.")
        self.error_messages = {**self.error_messages, "invalid_login": wrong}

    def text_fields(self) -> list[forms.BoundField]:
        """Return the fields for username and password, without the checkbox."""
        return [self["username"], self["password"]]
