"""By what many members are linked at once."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.models import DirectoryPolicy, User
from integrations.models import Corp

# What a key of the database can be.
_KEY = re.compile(r"[0-9]{1,18}")


def key_in(text: str) -> int | None:
    return int(text) if _KEY.fullmatch(text) else None


class BulkForm(forms.Form):
    """`person`: who links. Only of companies that they see."""

    corp = forms.ModelChoiceField(queryset=Corp.objects.none(), label=_("WeCom company name"))
    match_username = forms.BooleanField(label=capfirst(_("by username = WeCom account")), required=False, initial=True)
    match_email = forms.BooleanField(label=capfirst(_("by e-mail")), required=False)
    match_mobile = forms.BooleanField(label=capfirst(_("by mobile")), required=False)
    match_number = forms.BooleanField(
        label=capfirst(_("by employee number")),
        required=False,
        help_text=_("As the directory policy of the company says which attribute holds it."),
    )

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["corp"].queryset = Corp.objects.visible_to(person)  # type: ignore[attr-defined]  # its own field

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if not any(chosen.get(name) for name in (*_KEYS, "match_number")):
            raise forms.ValidationError(_("Choose by what people are found, or nobody would be linked."))
        if chosen.get("match_number") and "corp" in chosen and self._numbered().number_attribute_id is None:
            self.add_error("match_number", _("The directory policy of this company names no employee number."))
        return chosen

    def policy(self) -> DirectoryPolicy:
        """What is chosen, in the form in which a run knows it; never saved."""
        keys = {name: bool(self.cleaned_data[name]) for name in _KEYS}
        policy = DirectoryPolicy(corp=self.cleaned_data["corp"], mode=DirectoryPolicy.Mode.LINK, **keys)
        if self.cleaned_data["match_number"]:
            known = self._numbered()
            policy.number_attribute_id, policy.number_field = known.number_attribute_id, known.number_field
        return policy

    def _numbered(self) -> DirectoryPolicy:
        """The company's own policy, or an empty one."""
        corp = self.cleaned_data["corp"]
        return DirectoryPolicy.objects.filter(corp=corp).first() or DirectoryPolicy(corp=corp)


_KEYS = ("match_username", "match_email", "match_mobile")
