"""Forms of a company and of the site's address in the admin."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from integrations import bi
from integrations.admin.form_fields import (
    CertificatesField,
    CompactField,
    DepartmentIdsField,
    NumberField,
    TidyField,
    WriteOnlyInput,
)
from integrations.admin.form_mixins import ProxyMixin
from integrations.companies.diagnosis import results
from integrations.core import hooks, validators
from integrations.core.page_versions import VersionedForm
from integrations.core.safe_urls import LONGEST_IN_LINK, length_in_link
from integrations.models import Corp, SiteAddress
from integrations.models.companies import HomePage
from integrations.models.fields import UNREADABLE_NOTE, Unreadable

DOMAIN_ID_IN_LINK = 128
# Pages that administrators paste where the address of the server is asked for.
PAGE_PATHS = ("/connect/oauth2/authorize", "/wwlogin/sso/login", "/cgi-bin")


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """What is handed in for a corp that has been enabled, where it serves only once WeCom has confirmed it."""

    agentid: int
    secret: str


class CorpForm(ProxyMixin, VersionedForm):
    """One corp. The `new_` fields are no model fields: what is stored is never shown by this form.

    Once the corp was enabled, another Secret or AgentId is not written into it but left in `new_credentials`.
    """

    # Stands for the Secrets and the proxy, which no page shows.
    version_columns = ("connection_version",)
    # Without the Secret, which may have to be confirmed first.
    secrets = {
        "new_contacts_secret": ("contacts_secret", "remove_contacts_secret"),
        "new_proxy_url": ("proxy_url", "remove_proxy"),
    }

    new_secret = CompactField(label="Secret", required=False, widget=WriteOnlyInput)
    new_contacts_secret = CompactField(label=_("Contacts sync Secret"), required=False, widget=WriteOnlyInput)
    remove_contacts_secret = forms.BooleanField(label=_("Remove the saved Contacts sync Secret"), required=False)

    class Meta:
        model = Corp
        fields = (
            *("name", "corpid", "agentid", "department_root_ids"),
            *("sign_in_enabled", "admin_rights_enabled", "domain_id", "site_address"),
            *("home_page", "home_bi_page", "bi_sign_in_enabled"),
            *("api_base_url", "authorize_base_url", "qr_base_url", "ca_bundle"),
        )
        help_texts = dict.fromkeys(
            ("api_base_url", "authorize_base_url", "qr_base_url"),
            _("Differs only for the sandbox and for WeCom's private edition."),
        )
        labels = {"domain_id": "domain_id"}  # the word of WeCom's link, which Django would capitalise
        # A number's own input would hide what else was pasted, and leave the field empty.
        widgets = {"agentid": forms.TextInput({"inputmode": "numeric", "class": "vIntegerField"})}
        field_classes = {
            "name": TidyField,
            "corpid": CompactField,
            "agentid": NumberField,
            "domain_id": CompactField,
            "department_root_ids": DepartmentIdsField,
            "ca_bundle": CertificatesField,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.new_credentials: NewCredentials | None = None
        if "home_page" in self.fields:
            self.fields["home_page"].required = False  # the choice has no empty one; nothing sent means no change
        if "new_secret" in self.fields:
            self._describe_secret()
        self.describe_secret(
            "new_contacts_secret",
            saved=_("A Contacts sync Secret is saved. Leave this empty to keep it, or paste a new one."),
            empty=_(
                "With it the whole company is read, not only whom the app may see. In WeCom's console: Security and "
                "management → Management tools → Contacts sync → Secret. Stored encrypted, never shown. May stay empty."
            ),
        )

    def _describe_secret(self) -> None:
        secret = self.fields["new_secret"]
        secret.required = self.instance.pk is None
        secret.help_text = Corp._meta.get_field("secret").help_text
        if self.instance.pk is not None:
            secret.help_text = _(
                "A Secret is saved. Leave this empty to keep it, or paste a new one to replace it. "
                "In WeCom's console: App management → the app's page."
            )
        if self.instance.was_enabled:
            secret.help_text = _(
                "A Secret is saved. Leave this empty to keep it. A new Secret or AgentId serves once WeCom has "
                "confirmed that both belong to one app; until then the old ones do."
            )
        if isinstance(self.instance.secret, Unreadable):
            secret.help_text = UNREADABLE_NOTE

    def clean_sign_in_enabled(self) -> bool:
        """Unlike disabling, a tick that is taken away is not asked about: nobody may shut everybody out with it."""
        return self._switched("sign_in_enabled")

    def clean_admin_rights_enabled(self) -> bool:
        return self._switched("admin_rights_enabled")

    def _switched(self, name: str) -> bool:
        is_on: bool = self.cleaned_data[name]
        if not is_on and getattr(self.instance, name) and self.instance.is_enabled:
            reasons = hooks.sign_in_ending.joined(self.instance)
            if reasons:
                raise ValidationError(reasons)
        return is_on

    def clean_domain_id(self) -> str:
        """It stands encoded in every link, and a menu's links are limited."""
        domain_id: str = self.cleaned_data["domain_id"]
        if (length := length_in_link(domain_id)) > DOMAIN_ID_IN_LINK:
            raise ValidationError(
                _(
                    "Too long for a link, where it takes %(count)s characters: at most %(limit)s. "
                    "Use letters and digits."
                ),
                code="long",
                params={"count": length, "limit": DOMAIN_ID_IN_LINK},
            )
        return domain_id

    def clean_home_page(self) -> str:
        """Only when it is chosen: a BI that is switched off later must not keep anybody from saving the rest."""
        home_page: str = self.cleaned_data["home_page"] or self.instance.home_page
        if home_page == HomePage.BI and self.instance.home_page != HomePage.BI and not bi.is_open():
            raise ValidationError(_("People do not enter a BI from here yet: connect it first, under Guandata BI."))
        return home_page

    def clean_home_bi_page(self) -> str:
        typed: str = self.cleaned_data["home_bi_page"]
        page = bi.page_from(typed, bi.connection()) if typed else ""
        if length_in_link(page) > LONGEST_IN_LINK:
            raise ValidationError(_("The path is too long."), code="long")
        return page

    def clean_api_base_url(self) -> str:
        return self._server("api_base_url")

    def clean_authorize_base_url(self) -> str:
        return self._server("authorize_base_url")

    def clean_qr_base_url(self) -> str:
        return self._server("qr_base_url")

    def _server(self, name: str) -> str:
        url = validators.normalised_base_url(self.cleaned_data[name])
        for path in PAGE_PATHS:
            url = url.removesuffix(path)
        return url

    def clean(self) -> None:
        """Put new secrets into the instance, which is all that is ever done with them here."""
        super().clean()
        if self._switches_sign_in_on() and (reasons := self._reasons_against_sign_in()):
            self.add_error("sign_in_enabled", ValidationError(reasons))
        is_another_way = self._sends_secret_elsewhere()
        if is_another_way:
            self._require_secrets_again()
        # Over another way the old credentials tell nothing: there the new ones serve at once.
        if self.instance.was_enabled and not is_another_way:
            self._stage_credentials()
        elif self.cleaned_data.get("new_secret"):
            self.instance.secret = self.cleaned_data["new_secret"]
        self.store_secrets()

    def _stage_credentials(self) -> None:
        """Take a new AgentId and Secret out of what is saved."""
        saved, secret = self.instance.agentid, self.cleaned_data.get("new_secret", "")
        agentid: int = self.cleaned_data.get("agentid", saved)
        if agentid == saved and not secret:
            return
        if Corp.objects.filter(corpid=self.instance.corpid, agentid=agentid).exclude(pk=self.instance.pk).exists():
            return  # the model's own check says so
        if not secret:
            self.add_error("new_secret", _("Paste the Secret of the app with this AgentId, too."))
            return
        self.new_credentials = NewCredentials(agentid, secret)
        self.cleaned_data["agentid"] = saved
        self.changed_data = [name for name in self.changed_data if name not in {"agentid", "new_secret"}]

    def _require_secrets_again(self) -> None:
        if not self.cleaned_data.get("new_secret"):
            self.add_error("new_secret", _("Paste the Secret again: with this change it would be sent another way."))
        if self.instance.contacts_secret and not self.replaces("new_contacts_secret"):
            message = _("Paste this Secret again, or remove it: with this change it would be sent another way.")
            self.add_error("new_contacts_secret" if "new_contacts_secret" in self.fields else None, message)

    def _switches_sign_in_on(self) -> bool:
        """Of an enabled corp: enabling asks the rest. The instance still has the saved value."""
        corp = self.instance
        return corp.is_enabled and not corp.sign_in_enabled and bool(self.cleaned_data.get("sign_in_enabled"))

    def _reasons_against_sign_in(self) -> list[str]:
        """With the links that this save would make."""
        corp = copy(self.instance)
        for name in ("site_address", "domain_id"):
            if name in self.cleaned_data:
                setattr(corp, name, self.cleaned_data[name])
        return results.find_reasons_against_sign_in(corp, now=timezone.now())

    def _sends_secret_elsewhere(self) -> bool:
        """Otherwise, somebody who may change a company could send its Secret to an address of their own."""
        if self.instance._state.adding:
            return False
        saved = {"api_base_url": self.instance.api_base_url, "ca_bundle": self.instance.ca_bundle}
        is_another_way = any(self.cleaned_data.get(name, value) != value for name, value in saved.items())
        return is_another_way or bool(self.cleaned_data.get("new_proxy_url"))

    def _get_validation_exclusions(self) -> set[str]:
        """Why? A CorpId that may not be changed any more still counts for "one row per app"."""
        exclusions: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # the stubs lack it
        return exclusions if "corpid" in self.errors else exclusions - {"corpid"}

    def changed_model_fields(self) -> set[str]:
        columns = super().changed_model_fields()
        if self.cleaned_data.get("new_secret") and self.new_credentials is None:
            columns.add("secret")
        return columns

    def tidied_labels(self) -> list[str]:
        """Labels of the fields from which spaces or invisible characters were removed."""
        return [
            str(self.fields[name].label)
            for name in ("name", "corpid", "agentid", "new_secret", "new_contacts_secret", "domain_id")
            if name in self.fields and self._was_tidied(name)
        ]

    def _was_tidied(self, name: str) -> bool:
        typed = self.data.get(self.add_prefix(name), "")
        kept = self.cleaned_data.get(name)
        return bool(typed) and typed != str(kept)


class SiteAddressForm(VersionedForm):
    """One site address, in its canonical form, and no second one for the same host. `suggested`: filled in for whoever
    opens it; empty: what is saved."""

    suggested = ""

    class Meta:
        model = SiteAddress
        fields = ("url",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.suggested and "url" in self.fields:
            self.initial["url"] = self.suggested
            self.fields["url"].help_text = _(
                "Filled in: the address at which you read this page. Save it if it is the one that people open."
            )

    def clean_url(self) -> str:
        url = validators.normalised_site_address(self.cleaned_data["url"])
        domain = urlsplit(url).netloc
        twins = [f"{scheme}://{domain}/" for scheme in validators.DEFAULT_PORTS]
        if SiteAddress.objects.filter(url__in=twins).exclude(pk=self.instance.pk).exists():
            raise ValidationError(_("There is a site address with this host already."), code="twin")
        return url
