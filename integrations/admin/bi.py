"""Admin pages of the BI connection: settings, key pair, test, and the administrator's own sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations import bi
from integrations.admin.base import (
    CertificatesField,
    CompactField,
    OneRowAdmin,
    ProxyMixin,
    SecretsAdmin,
    TidyField,
    View,
    WriteOnlyInput,
    fold_fields,
    make_routes,
    show_page,
)
from integrations.bi import PLACE_OF_KEY, explain_findings
from integrations.clients.guandata_sso import (
    KeyFlaw,
    KeyRefusedError,
    format_private_key,
    has_reserved_parameter,
    is_page_template,
    load_private_key,
)
from integrations.core import hooks, http, validators
from integrations.core.admin_pages import ConfirmedChanges, VersionedForm
from integrations.core.http import is_own_page
from integrations.jobs.registry import describe_job
from integrations.jobs.requests import find_newest_job
from integrations.models import BiConnection, SiteAddress
from integrations.models.installation import SINGLETON_PK

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from django.utils.functional import _StrPromise
    from django_stubs_ext import StrOrPromise


_SAVED = _("One is saved. Leave this empty to keep it, or paste a new one to replace it.")


class PageTemplateField(CompactField):
    """The path of a BI page, with {id} in place of its id."""

    def validate(self, value: str) -> None:
        super().validate(value)
        if value and not is_page_template(value):
            message = _("Write a path that begins with / and has {id} as a part of its own, as /page/{id}.")
            raise ValidationError(message, code="template")


class HomePathField(CompactField):
    """The path of the BI's start page."""

    def validate(self, value: str) -> None:
        super().validate(value)
        # Check it as a path below /bi, because /login and similar paths are also pages of the BI.
        if not is_own_page(f"/bi{value}") or not value.startswith("/") or "#" in value:
            raise ValidationError(_("Write a path that begins with /, without a host."), code="path")
        if has_reserved_parameter(value):
            message = _(
                "Leave out the parameters provider and ssoToken: they carry a sign-in, and everybody would enter "
                "as one person."
            )
            raise ValidationError(message, code="reserved")


class BiConnectionForm(ProxyMixin, VersionedForm):
    """The form of the BI connection without its key pair, which has pages of its own."""

    # The number changes with the keys, passwords and proxy, which no page shows.
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
        help_text=_("Created in the BI. This site needs it to list the BI's pages. Optional."),
    )
    remove_app_token = forms.BooleanField(label=capfirst(_("remove the saved app token")), required=False)

    class Meta:
        model = BiConnection
        fields = (
            "is_enabled",
            "base_url",
            "provider",
            "domain_id",
            "external_id_source",
            "token_seconds",
            "desktop_page",
            "phone_page",
            "desktop_home",
            "phone_home",
            "routed_paths",
            "api_domain",
            "api_login",
            "ca_bundle",
        )
        # Parameters of the BI's URLs, which Django would capitalise.
        labels = {"provider": "provider", "domain_id": "domainId"}
        field_classes = {
            "provider": CompactField,
            "domain_id": CompactField,
            "api_domain": CompactField,
            "api_login": TidyField,
            "ca_bundle": CertificatesField,
            "desktop_page": PageTemplateField,
            "phone_page": PageTemplateField,
            "desktop_home": HomePathField,
            "phone_home": HomePathField,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "external_id_source" in self.fields:
            field: Any = self.fields["external_id_source"]
            offered = hooks.people().list_external_ids()
            choices = [(source.key, source.label) for source in offered]
            if self.instance.external_id_source not in {source.key for source in offered}:
                choices.append((self.instance.external_id_source, _("one that does not exist any more")))
            field.choices = choices  # assigned, not appended to: only then the widget gets them
            field.help_text = BiConnection._meta.get_field("external_id_source").help_text
        for name in ("new_api_password", "new_app_token"):
            self.describe_secret(name, saved=_SAVED)

    def clean_base_url(self) -> str:
        """Refuse our own address, which would lead to a redirect loop."""
        typed: str = self.cleaned_data["base_url"]
        url = validators.normalise_base_url(typed) if typed else ""
        domains = {address.domain for address in SiteAddress.objects.all()}
        if url and urlsplit(url).netloc in domains and "base_url" not in self.withheld:
            raise ValidationError(_("This is the address of this site itself. Enter the BI's."), code="own")
        return url

    def clean_external_id_source(self) -> str:
        chosen: str = self.cleaned_data["external_id_source"]
        if hooks.find_external_id_by_key(chosen) is None and "external_id_source" not in self.withheld:
            raise ValidationError(_("This value does not exist any more: choose another."), code="gone")
        return chosen

    def clean(self) -> None:
        super().clean()
        is_enabled = bool(self.cleaned_data.get("is_enabled"))
        if is_enabled:  # the errors are shown at this checkbox, because the key has no field
            if not self.cleaned_data.get("base_url", self.instance.base_url) and "base_url" not in self.errors:
                self.add_error("is_enabled", _("Enter the address of the BI first."))
            if not self.instance.has_key:
                message = _("Save without this tick, generate the key pair below, then switch it on.")
                self.add_error("is_enabled", message)
        # An identity source already in use stays, with a warning on the start page (accounts.users.bi_identity).
        key = self.cleaned_data.get("external_id_source", self.instance.external_id_source)
        is_activated = key != self.instance.external_id_source or (is_enabled and not self.instance.is_enabled)
        source = hooks.find_external_id_by_key(key)
        if source is not None and is_activated and (objection := source.objection()):
            self.add_error("external_id_source", objection)
        if self.sends_secrets_elsewhere("base_url", "ca_bundle"):
            self.require_secrets_again("new_app_token")
            if self.cleaned_data.get("api_login"):
                self.require_secrets_again("new_api_password")
        self.store_secrets()


class KeyForm(forms.Form):
    """A form to paste a private key that was made elsewhere."""

    private_key = forms.CharField(
        label=_("Private key"),
        widget=forms.Textarea(
            attrs={"rows": 12, "class": "vLargeTextField", "autocomplete": "off", "spellcheck": "false"}
        ),
        help_text=_("PKCS#8: with the lines BEGIN and END, or only the base64 between them."),
    )

    def clean_private_key(self) -> RSAPrivateKey:
        try:
            return load_private_key(self.cleaned_data["private_key"])
        except KeyRefusedError as refusal:
            raise ValidationError(KEY_FLAWS[refusal.flaw], code=refusal.flaw) from None


KEY_FLAWS: dict[KeyFlaw, _StrPromise] = {
    KeyFlaw.PUBLIC: _("This is a public key or a certificate. The private key stays here; the BI gets the public one."),
    KeyFlaw.ENCRYPTED: _("This key is protected by a password. Paste it without."),
    KeyFlaw.UNREADABLE: _("This is no private key, or a part of it is missing. Copy it whole."),
    KeyFlaw.NOT_RSA: _("This is no RSA key. The BI takes RSA only."),
    KeyFlaw.SHORT: _("This key is too short: the BI asks for 1024 bits."),
    KeyFlaw.LONG: _("This key is too long: at most 4096 bits."),
}


FOLDER = "admin/integrations/biconnection"
# Only superusers set these fields, because they decide as whom people enter the BI. The proxy is among them: a test
# sends a token of the person who tests through it.
IDENTITY_FIELDS = ("base_url", "external_id_source", "ca_bundle", "new_proxy_url")


@admin.register(BiConnection)
class BiConnectionAdmin(ConfirmedChanges, SecretsAdmin, OneRowAdmin):
    form = BiConnectionForm
    unconfirmed_pages = frozenset({"integrations_biconnection_test", "integrations_biconnection_enter"})
    change_form_template = f"{FOLDER}/change_form.html"
    fieldsets = (
        (_("Connection"), {"fields": ("base_url", "api_login", "new_api_password", "new_app_token")}),
        (_("Single sign-on"), {"fields": ("is_enabled", "provider", "external_id_source")}),
        fold_fields(
            _("Addresses of its pages"),
            "desktop_page",
            "phone_page",
            "desktop_home",
            "phone_home",
            "routed_paths",
        ),
        fold_fields(
            _("Advanced"),
            "token_seconds",
            "domain_id",
            "api_domain",
            "remove_app_token",
            "new_proxy_url",
            "remove_proxy",
            "ca_bundle",
        ),
    )

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/corp.js", "integrations/live.js"]

    def find_withheld(self, request: HttpRequest, obj: BiConnection | None) -> dict[str, StrOrPromise]:
        return {} if request.user.is_superuser else dict.fromkeys(IDENTITY_FIELDS, "")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BiConnection]:
        """Defer the secrets, so that the page opens even if one cannot be decrypted."""
        return super().get_queryset(request).defer(*bi.SECRETS)

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("key/generate/", "generate"): require_POST(self.generate_view),
            ("key/paste/", "paste"): self.paste_view,
            ("test/", "test"): require_POST(self.test_view),
            ("state/", "state"): require_GET(self.state_view),
            ("enter/", "enter"): require_POST(self.enter_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        extra = dict(extra_context or {})
        saved = BiConnection.objects.filter(pk=SINGLETON_PK).defer(*bi.SECRETS).first()
        if saved is not None and object_id == str(SINGLETON_PK):
            extra |= self._describe_panels(request, saved)
        response = super().changeform_view(request, object_id, form_url, extra)
        if saved is not None and (origin := http.read_origin(saved.base_url)):
            http.allow_sources(response, "form-action", [origin])  # the test sign-in ends there
        return response

    def save_model(self, request: HttpRequest, obj: BiConnection, form: Any, change: bool) -> None:
        changed = form.list_changed_columns()
        bi.save_connection(connection=obj, changed_fields=changed)
        http.clear_caches()
        if request.user.has_perm("integrations.add_datasource") and (source := bi.ensure_source(obj)):
            self.log_addition(request, source, [{"added": {}}])
            message = gettext("The data source “%(name)s” was added: pushes and alerts take cards of the BI from it.")
            messages.info(request, message % {"name": source})
        if not bi.CONNECTION_FIELDS.isdisjoint(changed):
            bi.request_test(by=request.user, now=timezone.now())
            messages.info(request, gettext("The connection is being tested: the result appears on this page."))

    def response_post_save_change(self, request: HttpRequest, obj: BiConnection) -> HttpResponseRedirect:
        """Redirect to this page instead of a list, because it shows the next step."""
        return self._redirect_to_page()

    def _describe_panels(self, request: HttpRequest, saved: BiConnection) -> dict[str, Any]:
        source = hooks.find_external_id_by_key(saved.external_id_source)
        test = self._describe_test(saved)
        return {
            "bi": saved,
            "can_act": self.has_change_permission(request, saved),
            "may_paste": request.user.is_superuser,
            "public_key": bi.format_public_keys(saved),
            "place_of_key": PLACE_OF_KEY,
            "caution": " ".join(filter(None, (source.objection(), source.caution()))) if source else "",
            "source": source.label if source else "",
            "own_id": source.find_value(request.user) if source else "",
            "test": test,
            "connection_state": test["parts"]["connection-state"],
        }

    def generate_view(self, request: HttpRequest) -> HttpResponse:
        """Generate a key pair. The form sends `first` if its page showed that there was none."""
        saved = self._load_row_to_change(request)
        if "first" in request.POST and saved.has_key:
            messages.warning(request, gettext("Somebody else saved a key pair meanwhile; it was left as it is."))
            return self._redirect_to_page("key")
        bi.generate_key(now=timezone.now())
        self.log_change(request, saved, gettext("Key pair generated."))
        messages.success(request, gettext("A key pair is generated. Paste its public key into the BI."))
        return self._redirect_to_page("key")

    def paste_view(self, request: HttpRequest) -> HttpResponse:
        """Save a pasted private key. For superusers only: a known key allows entering the BI as anybody."""
        saved = self._load_row_to_change(request)
        if not request.user.is_superuser:
            raise PermissionDenied
        form = KeyForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            bi.save_key(format_private_key(form.cleaned_data["private_key"]), now=timezone.now())
            self.log_change(request, saved, gettext("Private key pasted."))
            messages.success(request, gettext("The key is saved. The BI must have the public key that belongs to it."))
            return self._redirect_to_page("key")
        context = {"title": gettext("Paste a private key"), "bi": saved, "form": form}
        return show_page(self, request, f"{FOLDER}/paste.html", context)

    def test_view(self, request: HttpRequest) -> HttpResponse:
        """Test the connection in the background. The page polls state_view."""
        self._load_row_to_change(request)
        bi.request_test(by=request.user, now=timezone.now())
        return self._redirect_to_page("test")

    def state_view(self, request: HttpRequest) -> JsonResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return JsonResponse(self._describe_test(bi.load_connection()))

    def enter_view(self, request: HttpRequest) -> HttpResponse:
        """Sign the administrator in to the BI, even before single sign-on is enabled, or explain why not."""
        saved = self._load_row_to_change(request)
        try:
            address = bi.build_entrance(saved, lambda: bi.find_external_id(saved, request.user), now=timezone.now())
        except bi.CannotEnter as refusal:
            missing = str(refusal.source.label) if refusal.source else ""
            messages.error(request, bi.explain_obstacles()[refusal.obstacle] % {"missing": missing})
            return self._redirect_to_page("test")
        self.log_change(request, saved, gettext("Test sign-in to the BI."))
        response = HttpResponseRedirect(address)
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    def _describe_test(self, saved: BiConnection) -> dict[str, Any]:
        context = {
            "bi": saved,
            **describe_job(find_newest_job(bi.TEST, SINGLETON_PK)),
            "is_outdated": saved.checked_at is not None and saved.checked_version != saved.connection_version,
            "lines": explain_findings(saved.check_results) if saved.checked_at else [],
        }
        parts = {"connection-state": render_to_string(f"{FOLDER}/_state.html", context)}
        html = render_to_string(f"{FOLDER}/_test.html", context)
        return {"is_unfinished": context["is_unfinished"], "html": html, "parts": parts}

    def _load_row_to_change(self, request: HttpRequest) -> BiConnection:
        """Return the row. Raises PermissionDenied if the person may not change it."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return bi.ensure_connection()

    def _redirect_to_page(self, section: str = "") -> HttpResponseRedirect:
        address = reverse("admin:integrations_biconnection_change", args=[SINGLETON_PK])
        return HttpResponseRedirect(f"{address}#{section}" if section else address)
