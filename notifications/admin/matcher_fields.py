"""Form field for label matchers: one per line, in Alertmanager's syntax."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from notifications.alerts import routing

_SENTENCES = {
    "too_many": _("Line %(line)d: no more than 20 matchers."),
    "malformed": _("Line %(line)d is no matcher. Write for example severity=critical or instance=~db-*."),
    "too_long": _("Line %(line)d is too long."),
    "expression": _(
        "Line %(line)d: behind =~ stands a pattern with * and ?, and | between alternatives, no regular expression. "
        "For example instance=~db-*|cache-?."
    ),
}


class MatchersField(forms.CharField):
    """Cleans to what AlertRoute.matchers keeps."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "max_length": 10_000, **kwargs})
        self.widget.attrs.update(rows=4, spellcheck="false")

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(str(one) for one in routing.from_rows(value))
        return value

    def clean(self, value: Any) -> list[list[str]]:
        text = super().clean(value)
        try:
            return routing.to_rows(routing.parse(text))
        except routing.MatcherError as error:
            raise ValidationError(_SENTENCES[error.reason] % {"line": error.line}) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return routing.to_rows(routing.parse(data or "")) != (initial or [])
        except routing.MatcherError:
            return True
