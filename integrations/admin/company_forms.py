"""Forms of the admin: what people paste is tidied, secrets are write-only."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from integrations.bi import sso
from integrations.companies.diagnosis import readiness
from integrations.core import hooks, validators
from integrations.core.concurrency import SeenForm
from integrations.core.safe_urls import LONGEST_IN_LINK, length_in_link
from integrations.models import BiConnection, Corp, SiteAddress
from integrations.models.companies import HomePage
from integrations.models.fields import UNREADABLE_NOTE, Unreadable

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

DOMAIN_ID_IN_LINK = 128
# Pages that administrators paste where the address of the server is asked for.
PAGE_PATHS = ("/connect/oauth2/authorize", "/wwlogin/sso/login", "/cgi-bin")


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


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """What is handed in for a corp that has been enabled, where it serves only once WeCom has confirmed it."""

    agentid: int
    secret: str


class CorpForm(SeenForm):
    """One corp. The `new_` fields are no model fields: what is stored is never shown by this form.

    Once the corp was enabled, another Secret or AgentId is not written into it but left in `new_credentials`.
    """

    # Stands for the Secrets and the proxy, which no page shows.
    seen_columns = {"connection_version": ("secret", "contacts_secret", "proxy_url")}

    new_secret = CompactField(label="Secret", required=False, widget=WriteOnlyInput)
    new_contacts_secret = CompactField(label=_("Contacts sync Secret"), required=False, widget=WriteOnlyInput)
    remove_contacts_secret = forms.BooleanField(label=_("Remove the saved Contacts sync Secret"), required=False)
    new_proxy_url = forms.CharField(label=capfirst(_("proxy")), required=False, widget=VisibleWriteOnlyInput)
    remove_proxy = forms.BooleanField(label=capfirst(_("remove the saved proxy")), required=False)

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
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.new_credentials: NewCredentials | None = None
        if "home_page" in self.fields:
            self.fields["home_page"].required = False  # the choice has no empty one; nothing sent means no change
        if "new_secret" in self.fields:
            self._describe_secret()
        if "new_proxy_url" in self.fields:
            self._describe_proxy()
        if "new_contacts_secret" in self.fields:
            self._describe_contacts_secret()

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

    def _describe_contacts_secret(self) -> None:
        help_text = _(
            "With it the whole company is read, not only whom the app may see. In WeCom's console: Security and "
            "management → Management tools → Contacts sync → Secret. Stored encrypted, never shown. May stay empty."
        )
        saved = self.instance.contacts_secret
        if isinstance(saved, Unreadable):
            help_text = UNREADABLE_NOTE
        elif saved:
            help_text = _("A Contacts sync Secret is saved. Leave this empty to keep it, or paste a new one.")
        else:
            self.fields["remove_contacts_secret"].widget = forms.HiddenInput()
            self.fields["remove_contacts_secret"].label = ""
        self.fields["new_contacts_secret"].help_text = help_text

    def _describe_proxy(self) -> None:
        self.fields["new_proxy_url"].help_text = about_proxy(self.instance)
        if not self.instance.proxy_url:
            self.fields["remove_proxy"].widget = forms.HiddenInput()
            self.fields["remove_proxy"].label = ""

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
        if home_page == HomePage.BI and self.instance.home_page != HomePage.BI and not sso.is_open():
            raise ValidationError(_("People do not enter a BI from here yet: connect it first, under BI platform."))
        return home_page

    def clean_home_bi_page(self) -> str:
        typed: str = self.cleaned_data["home_bi_page"]
        page = sso.page_from(typed, sso.connection()) if typed else ""
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

    def clean_new_proxy_url(self) -> str:
        proxy: str = self.cleaned_data["new_proxy_url"]
        return validators.normalised_proxy_url(proxy) if proxy else ""

    def clean_ca_bundle(self) -> str:
        pem: str = self.cleaned_data["ca_bundle"]
        if pem:
            validators.validate_certificates(pem)
        return pem

    def clean(self) -> None:
        """Put new secrets into the instance, which is all that is ever done with them here."""
        super().clean()
        if self._switches_sign_in_on() and (reasons := self._reasons_against_sign_in()):
            self.add_error("sign_in_enabled", ValidationError(reasons))
        is_another_way = self._sends_secret_elsewhere()
        if is_another_way:
            self._ask_for_secrets_again()
        # Over another way the old credentials tell nothing: there the new ones serve at once.
        if self.instance.was_enabled and not is_another_way:
            self._stage_credentials()
        elif self.cleaned_data.get("new_secret"):
            self.instance.secret = self.cleaned_data["new_secret"]
        if self._replaces_contacts_secret():
            self.instance.contacts_secret = self.cleaned_data.get("new_contacts_secret", "")
        if self.cleaned_data.get("new_proxy_url"):
            self.instance.proxy_url = self.cleaned_data["new_proxy_url"]
        elif self.cleaned_data.get("remove_proxy"):
            self.instance.proxy_url = ""

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

    def _ask_for_secrets_again(self) -> None:
        if not self.cleaned_data.get("new_secret"):
            self.add_error("new_secret", _("Paste the Secret again: with this change it would be sent another way."))
        if self.instance.contacts_secret and not self._replaces_contacts_secret():
            message = _("Paste this Secret again, or remove it: with this change it would be sent another way.")
            self.add_error("new_contacts_secret" if "new_contacts_secret" in self.fields else None, message)

    def _replaces_contacts_secret(self) -> bool:
        return bool(self.cleaned_data.get("new_contacts_secret") or self.cleaned_data.get("remove_contacts_secret"))

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
        return readiness.reasons_against_sign_in(corp, now=timezone.now())

    def _sends_secret_elsewhere(self) -> bool:
        """Why ask? Who may change a corp must not learn its Secret by sending it to an address of their own."""
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
        """The names of the columns that this form changes."""
        changed = set(self.changed_data)
        columns = changed & {field.name for field in Corp._meta.fields}
        if self.cleaned_data.get("new_secret") and self.new_credentials is None:
            columns.add("secret")
        if self._replaces_contacts_secret():
            columns.add("contacts_secret")
        if not changed.isdisjoint({"new_proxy_url", "remove_proxy"}):
            columns.add("proxy_url")
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


def about_proxy(row: Corp | BiConnection) -> _StrPromise | str:
    """Help for the field of the proxy: what is saved, and where nothing is, what is to be entered."""
    if not row.proxy_url:
        return row._meta.get_field("proxy_url").help_text
    if isinstance(row.proxy_url, Unreadable):
        return UNREADABLE_NOTE
    return _("Saved: %(proxy)s. Leave this empty to keep it.") % {"proxy": saved_proxy(row)}


def saved_proxy(row: Corp | BiConnection) -> _StrPromise | str:
    """Host and port of the saved proxy, without its password."""
    if isinstance(row.proxy_url, Unreadable):
        return UNREADABLE_NOTE
    parts = urlsplit(row.proxy_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""


class SiteAddressForm(SeenForm):
    """One site address, in its canonical form, and no second one for the same host."""

    class Meta:
        model = SiteAddress
        fields = ("url",)

    def clean_url(self) -> str:
        url = validators.normalised_site_address(self.cleaned_data["url"])
        domain = urlsplit(url).netloc
        twins = [f"{scheme}://{domain}/" for scheme in validators.DEFAULT_PORTS]
        if SiteAddress.objects.filter(url__in=twins).exclude(pk=self.instance.pk).exists():
            raise ValidationError(_("There is a site address with this host already."), code="twin")
        return url
