"""Forms of the BI's pages in the admin. What is stored of a secret is never read for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from integrations.admin.form_fields import CertificatesField, CompactField, TidyField, WriteOnlyInput
from integrations.admin.form_mixins import ProxyMixin
from integrations.clients.guandata.keys import Flaw, KeyRefused, load
from integrations.clients.guandata.reserved import has_reserved
from integrations.clients.guandata.urls import is_template
from integrations.core import hooks, validators
from integrations.core.page_versions import VersionedForm
from integrations.core.safe_urls import is_own_page
from integrations.models import BiConnection, SiteAddress

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

_SAVED = _("One is saved. Leave this empty to keep it, or paste a new one to replace it.")


class BiConnectionForm(ProxyMixin, VersionedForm):
    """The connection to the BI, without its key pair, which has pages of its own."""

    # Stands for the keys, passwords and the proxy, which no page shows.
    version_columns = ("connection_version",)
    secrets = {
        "new_api_password": ("api_password", ""),
        "new_app_token": ("app_token", "remove_app_token"),
        "new_proxy_url": ("proxy_url", "remove_proxy"),
    }

    external_id_source = forms.ChoiceField(label=capfirst(_("identity in the BI")))
    new_api_password = forms.CharField(
        label=capfirst(_("password of the API user")), required=False, widget=WriteOnlyInput
    )
    new_app_token = CompactField(
        label=capfirst(_("app token")),
        required=False,
        widget=WriteOnlyInput,
        help_text=_("Made in the BI; with it this site lists the BI's pages. Optional."),
    )
    remove_app_token = forms.BooleanField(label=capfirst(_("remove the saved app token")), required=False)

    class Meta:
        model = BiConnection
        fields = (
            *("is_enabled", "base_url", "provider", "domain_id", "external_id_source", "token_seconds"),
            *("desktop_page", "phone_page", "desktop_home", "phone_home", "routed_paths"),
            *("api_domain", "api_login", "ca_bundle"),
        )
        # Words of the BI's own address, which Django would capitalise.
        labels = {"provider": "provider", "domain_id": "domainId"}
        field_classes = dict.fromkeys(
            ("provider", "domain_id", "desktop_page", "phone_page", "desktop_home", "phone_home", "api_domain"),
            CompactField,
        ) | {"api_login": TidyField, "ca_bundle": CertificatesField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "external_id_source" in self.fields:
            self._describe_source()
        for name in ("new_api_password", "new_app_token"):
            self.describe_secret(name, saved=_SAVED)

    def _describe_source(self) -> None:
        field: Any = self.fields["external_id_source"]
        offered = hooks.external_ids.joined()
        field.choices = [(one.key, one.label) for one in offered]
        field.help_text = BiConnection._meta.get_field("external_id_source").help_text
        if self.instance.external_id_source not in {one.key for one in offered}:
            field.choices.append((self.instance.external_id_source, _("one that does not exist any more")))

    def _has(self, column: str) -> bool:
        """Whether a secret is saved, also one that no key opens any more."""
        return bool(getattr(self.instance, column))

    # --- Each field ---------------------------------------------------------------------------------------------------

    def clean_base_url(self) -> str:
        """Not our own: a click would go round in circles."""
        typed: str = self.cleaned_data["base_url"]
        url = validators.normalised_base_url(typed) if typed else ""
        domains = {address.domain for address in SiteAddress.objects.all()}
        if url and urlsplit(url).netloc in domains:
            raise ValidationError(_("This is the address of this site itself. Enter the BI's."), code="own")
        return url

    def clean_external_id_source(self) -> str:
        chosen: str = self.cleaned_data["external_id_source"]
        if hooks.external_id_of(chosen) is None:
            raise ValidationError(_("This value does not exist any more: choose another."), code="gone")
        return chosen

    def clean_desktop_page(self) -> str:
        return self._template("desktop_page")

    def clean_phone_page(self) -> str:
        return self._template("phone_page")

    def _template(self, name: str) -> str:
        template: str = self.cleaned_data[name]
        if template and not is_template(template):
            message = _("Write a path that begins with / and has {id} as a part of its own, as /page/{id}.")
            raise ValidationError(message, code="template")
        return template

    def clean_desktop_home(self) -> str:
        return self._home("desktop_home")

    def clean_phone_home(self) -> str:
        return self._home("phone_home")

    def _home(self, name: str) -> str:
        path: str = self.cleaned_data[name]
        # Asked as if below /bi, because /login and the like are pages of the BI's own.
        if not is_own_page(f"/bi{path}") or not path.startswith("/") or "#" in path:
            raise ValidationError(_("Write a path that begins with /, without a host."), code="path")
        if has_reserved(path):
            message = _(
                "Leave out the parameters provider and ssoToken: they carry a sign-in, and everybody would enter "
                "as one person."
            )
            raise ValidationError(message, code="reserved")
        return path

    # --- All of it ----------------------------------------------------------------------------------------------------

    def clean(self) -> None:
        super().clean()
        self._check_enabling()
        self._check_source()
        self._check_secrets_stay()
        self.store_secrets()

    def _check_enabling(self) -> None:
        """Nobody is passed on to nowhere. What is missing stands at the tick, because the key is no field."""
        if not self.cleaned_data.get("is_enabled"):
            return
        if not self.cleaned_data.get("base_url", self.instance.base_url) and "base_url" not in self.errors:
            self.add_error("is_enabled", _("Enter the address of the BI first."))
        if not self.instance.has_key:
            self.add_error("is_enabled", _("Save without this tick, generate the key pair below, then switch it on."))

    def _check_source(self) -> None:
        """What comes into use by this form. One that is in use stays: the overview tells of it
        (accounts.users.bi_identity).
        """
        key = self.cleaned_data.get("external_id_source", self.instance.external_id_source)
        is_switched_on = bool(self.cleaned_data.get("is_enabled")) and not self.instance.is_enabled
        source = hooks.external_id_of(key)
        if source is None or not (is_switched_on or key != self.instance.external_id_source):
            return
        if objection := source.objection():
            self.add_error("external_id_source" if "external_id_source" in self.fields else "is_enabled", objection)

    def _check_secrets_stay(self) -> None:
        """Otherwise, somebody who may change the connection could send a stored secret to an address of their own.

        Compared with the saved row: `initial` lacks what is read-only for the person.
        """
        saved = {name: getattr(self.instance, name) for name in ("base_url", "ca_bundle")}
        is_moved = any(self.cleaned_data.get(name, value) != value for name, value in saved.items())
        if not is_moved and not self.cleaned_data.get("new_proxy_url"):
            return
        again = _("Paste it again: with this change it would be sent another way.")
        if self._has("api_password") and self.cleaned_data.get("api_login") and not self.replaces("new_api_password"):
            self.add_error("new_api_password", again)
        if self._has("app_token") and not self.replaces("new_app_token"):
            self.add_error("new_app_token", again)


class KeyForm(forms.Form):
    """A private key that was made elsewhere."""

    private_key = forms.CharField(
        label=_("Private key"),
        widget=forms.Textarea(
            attrs={"rows": 12, "class": "vLargeTextField", "autocomplete": "off", "spellcheck": "false"}
        ),
        help_text=_("PKCS#8: with its lines BEGIN and END, or the base64 between them alone."),
    )

    def clean_private_key(self) -> str:
        text: str = self.cleaned_data["private_key"]
        try:
            load(text)
        except KeyRefused as refusal:
            raise ValidationError(FLAWS[refusal.flaw], code=refusal.flaw) from None
        return text


FLAWS: dict[Flaw, _StrPromise] = {
    Flaw.PUBLIC: _("This is a public key or a certificate. The private key stays here; the BI gets the public one."),
    Flaw.ENCRYPTED: _("This key is protected by a password. Paste it without."),
    Flaw.UNREADABLE: _("This is no private key, or a part of it is missing. Copy it whole."),
    Flaw.NOT_RSA: _("This is no RSA key. The BI takes RSA only."),
    Flaw.SHORT: _("This key is too short: the BI asks for 1024 bits."),
    Flaw.LONG: _("This key is too long: at most 4096 bits."),
}
