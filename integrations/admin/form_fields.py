"""Fields of the admin's forms: what people paste is tidied, secrets are write-only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from integrations.core import validators


class WriteOnlyInput(forms.PasswordInput):
    """A field that never shows what is stored, nor what was typed into a form that came back with errors."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"autocomplete": "new-password", "class": "vTextField", **(attrs or {})}, render_value=False)


class VisibleWriteOnlyInput(WriteOnlyInput):
    """The same, but one sees what one types."""

    input_type = "text"


class TidyField(forms.CharField):
    """Text without invisible characters, which come along when one copies from a web page or a chat."""

    tidy: Callable[[str], str] = staticmethod(validators.without_invisible)

    def to_python(self, value: Any) -> str | None:
        return super().to_python(self.tidy(value) if isinstance(value, str) else value)


class CompactField(TidyField):
    """The same without spaces inside: for ids and secrets."""

    tidy = staticmethod(validators.without_spaces)


class NumberField(forms.IntegerField):
    """A number from which spaces and invisible characters are removed."""

    widget = forms.TextInput
    default_error_messages = {"invalid": _("Write a whole number, such as 1000002.")}

    def to_python(self, value: Any) -> int | None:
        return super().to_python(validators.without_spaces(value) if isinstance(value, str) else value)


class DepartmentIdsField(forms.CharField):
    """A list of department ids, shown and typed with commas."""

    def __init__(self, *, encoder: object = None, decoder: object = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> list[int]:  # type: ignore[override]  # a list is what the column holds
        return validators.department_ids(value or "")

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or []) != self.to_python(data))
        except ValidationError:
            return True


class CertificatesField(forms.CharField):
    """The certificates of a private authority, in PEM."""

    default_validators = [validators.validate_certificates]
