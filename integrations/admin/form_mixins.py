"""What forms with secrets share: a stored value is never shown, and a field left empty keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from integrations.admin.form_fields import VisibleWriteOnlyInput
from integrations.core import validators
from integrations.core.generics import AnyModelForm
from integrations.models import BiConnection, Corp
from integrations.models.fields import UNREADABLE_NOTE, Unreadable

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class SecretsMixin(AnyModelForm):
    """`secrets`: for each write-only field the column that it replaces, and the tick that empties it ("": none)."""

    secrets: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType({})

    def describe_secret(self, name: str, *, saved: _StrPromise | str, empty: _StrPromise | str = "") -> None:
        """Give a field that is on the page the help for what is stored: something, nothing, or what no key opens.

        Without `empty` a field of which nothing is stored keeps its help. Its tick shows only where there is something.
        """
        column, tick = self.secrets[name]
        if name not in self.fields:
            return
        stored = getattr(self.instance, column)
        about = UNREADABLE_NOTE if isinstance(stored, Unreadable) else saved if stored else empty
        self.fields[name].help_text = about or self.fields[name].help_text
        if not stored and tick in self.fields:
            self.fields[tick].widget, self.fields[tick].label = forms.HiddenInput(), ""

    def replaces(self, name: str) -> bool:
        """Whether the form brings another secret for this field, or empties it."""
        return any(self.cleaned_data.get(key) for key in (name, self.secrets[name][1]))

    def store_secrets(self) -> None:
        """Put new secrets into the instance, which is all that is ever done with them in a form."""
        for name, (column, _tick) in self.secrets.items():
            if self.replaces(name):
                setattr(self.instance, column, self.cleaned_data.get(name) or "")

    def changed_model_fields(self) -> set[str]:
        """The names of the columns that this form changes."""
        columns = {column.name for column in self.instance._meta.fields}.intersection(self.changed_data)
        return columns | {column for name, (column, _tick) in self.secrets.items() if self.replaces(name)}


class ProxyMixin(SecretsMixin):
    """The proxy, which may hold a password: only its host and port are ever shown."""

    new_proxy_url = forms.CharField(label=capfirst(_("proxy")), required=False, widget=VisibleWriteOnlyInput)
    remove_proxy = forms.BooleanField(label=capfirst(_("remove the saved proxy")), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "new_proxy_url" in self.fields:
            saved = _("Saved: %(proxy)s. Leave this empty to keep it.") % {"proxy": saved_proxy(self.instance)}
            usual = self.instance._meta.get_field("proxy_url").help_text
            self.describe_secret("new_proxy_url", saved=saved, empty=usual)

    def clean_new_proxy_url(self) -> str:
        proxy: str = self.cleaned_data["new_proxy_url"]
        return validators.normalised_proxy_url(proxy) if proxy else ""


def saved_proxy(row: Corp | BiConnection) -> _StrPromise | str:
    """Host and port of the saved proxy, without its password."""
    if isinstance(row.proxy_url, Unreadable):
        return UNREADABLE_NOTE
    parts = urlsplit(row.proxy_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
