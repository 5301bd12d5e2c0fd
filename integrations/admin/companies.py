"""Admin pages of companies. They display and trigger; services decide."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations import bi, callbacks
from integrations.admin.base import (
    ONE_SAVE_BUTTON,
    CertificatesField,
    CompactField,
    DepartmentIdsField,
    ListField,
    NumberField,
    ProxyMixin,
    RowAction,
    SecretsAdmin,
    State,
    TidyField,
    View,
    WriteOnlyInput,
    find_row,
    fold_fields,
    hide_related_links,
    make_routes,
    show_page,
    show_state,
    show_status,
)
from integrations.admin.console import (
    CallbackKind,
    CallbackPages,
    ConsolePages,
    CredentialPages,
    VerificationPages,
    build_link,
)
from integrations.admin.diagnosis import DiagnosisPages, list_reasons_against_enabling
from integrations.companies import links, services
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.findings import MESSAGE
from integrations.core import hooks, validators
from integrations.core.admin_pages import ConfirmedChanges, VersionedForm
from integrations.core.http import LONGEST_IN_LINK, measure_in_link
from integrations.directory.events import describe_reception
from integrations.models import Corp, SiteAddress
from integrations.models.companies import HomePage
from integrations.models.fields import corp_condition

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# A view of a corp: gets the request, the corp and the parameters of its route.
CorpView = Callable[..., HttpResponseBase]
DOMAIN_ID_CHARACTERS_AT_MOST = 128
CONFIRMATION = "admin/integrations/corp/confirm.html"
# Paths of pages that administrators paste instead of a server's URL.
PAGE_PATHS = ("/connect/oauth2/authorize", "/wwlogin/sso/login", "/cgi-bin")


class ServerField(forms.CharField):
    """The URL of a WeCom server. Known page paths are removed."""

    def to_python(self, value: Any) -> str:
        url = validators.normalise_base_url(value) if value else ""
        for path in PAGE_PATHS:
            url = url.removesuffix(path)
        return url


class IpAddressesField(ListField):
    """Public IP addresses, separated as WeCom's console wants them."""

    parse = staticmethod(services.parse_ip_addresses)
    separator = services.IP_SEPARATOR


class CorpForm(ProxyMixin, VersionedForm):
    """The form of a corp. The `new_` fields are write-only and belong to no model field. `has_new_route`: whether the
    form changes the server, the proxy or the certificates, so that the secrets must be pasted again."""

    # The number changes with the Secrets and the proxy, which no page shows.
    version_columns = ("connection_version",)
    secrets = {
        "new_secret": ("secret", ""),
        "new_contacts_secret": ("contacts_secret", "remove_contacts_secret"),
        "new_proxy_url": ("proxy_url", "remove_proxy"),
    }

    new_secret = CompactField(
        label="Secret", required=False, widget=WriteOnlyInput, help_text=Corp._meta.get_field("secret").help_text
    )
    new_contacts_secret = CompactField(label=_("Contacts sync Secret"), required=False, widget=WriteOnlyInput)
    remove_contacts_secret = forms.BooleanField(label=_("Remove the saved Contacts sync Secret"), required=False)

    class Meta:
        model = Corp
        fields = (
            *("name", "corpid", "agentid", "department_root_ids"),
            *("sign_in_enabled", "admin_rights_enabled", "domain_id", "site_address"),
            *("home_page", "home_bi_page", "bi_sign_in_enabled"),
            *("api_base_url", "authorize_base_url", "qr_base_url", "ca_bundle", "noted_ips"),
        )
        help_texts = dict.fromkeys(
            ("api_base_url", "authorize_base_url", "qr_base_url"),
            _("Differs only for the sandbox and for WeCom's private edition."),
        )
        labels = {"domain_id": "domain_id"}  # the parameter of WeCom's link, which Django would capitalise
        # A number input would drop pasted text and submit an empty value.
        widgets = {"agentid": forms.TextInput({"inputmode": "numeric", "class": "vIntegerField"})}
        field_classes = {
            "name": TidyField,
            "corpid": CompactField,
            "agentid": NumberField,
            "domain_id": CompactField,
            "department_root_ids": DepartmentIdsField,
            "noted_ips": IpAddressesField,
            "ca_bundle": CertificatesField,
            **dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), ServerField),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_new_route = False
        if "home_page" in self.fields:
            self.fields["home_page"].required = False  # the choice has no empty option; a missing value means no change
        if self.instance.was_enabled:
            saved = _(
                "A Secret is saved. Leave this empty to keep it. A new Secret or AgentId serves once WeCom has "
                "confirmed that both belong to one app; until then the old ones do."
            )
        else:
            saved = _(
                "A Secret is saved. Leave this empty to keep it, or paste a new one to replace it. "
                "In WeCom's console: App management → the app's page."
            )
        self.describe_secret("new_secret", saved=saved)
        if "new_secret" in self.fields:
            self.fields["new_secret"].required = self.instance.pk is None
        self.describe_secret(
            "new_contacts_secret",
            saved=_("A Contacts sync Secret is saved. Leave this empty to keep it, or paste a new one."),
            empty=_(
                "With it the whole company is read, not only whom the app may see. In WeCom's console: Security and "
                "management → Management tools → Contacts sync → Secret. Stored encrypted, never shown. May stay empty."
            ),
        )

    def clean_domain_id(self) -> str:
        """Limit the encoded length: it is part of every link, and links of menus are limited."""
        domain_id: str = self.cleaned_data["domain_id"]
        if (length := measure_in_link(domain_id)) > DOMAIN_ID_CHARACTERS_AT_MOST:
            raise ValidationError(
                _(
                    "Too long for a link, where it takes %(count)s characters: at most %(limit)s. "
                    "Use letters and digits."
                ),
                code="long",
                params={"count": length, "limit": DOMAIN_ID_CHARACTERS_AT_MOST},
            )
        return domain_id

    def clean_home_page(self) -> str:
        """Refuse choosing the BI while it is closed. A saved choice stays valid, so that the rest of the form can be
        saved."""
        home_page: str = self.cleaned_data["home_page"] or self.instance.home_page
        if home_page == HomePage.BI and self.instance.home_page != HomePage.BI and not bi.is_open():
            raise ValidationError(_("People cannot enter a BI from here yet: connect it first, under Guandata BI."))
        return home_page

    def clean_home_bi_page(self) -> str:
        typed: str = self.cleaned_data["home_bi_page"]
        page = bi.parse_page(typed, bi.load_connection()) if typed else ""
        if measure_in_link(page) > LONGEST_IN_LINK:
            raise ValidationError(_("The path is too long."), code="long")
        return page

    def clean(self) -> None:
        """Validate, and copy new secrets to the instance."""
        super().clean()
        # Only an enabled corp is checked here (the instance still has the saved values); enabling checks the others.
        # Switching an option off is refused if no administrator could sign in any more. Disabling the corp is not: its
        # page warns first.
        if self.instance.is_enabled:
            for name in ("sign_in_enabled", "admin_rights_enabled"):
                was_on, is_on = getattr(self.instance, name), self.cleaned_data.get(name)
                if was_on and is_on is False and (reasons := hooks.people().warn_before_shutting_out(self.instance)):
                    self.add_error(name, ValidationError(reasons))
            is_switched_on = not self.instance.sign_in_enabled and self.cleaned_data.get("sign_in_enabled")
            if is_switched_on:
                after = copy(self.instance)  # the links must be right with the new values
                for name in {"site_address", "domain_id"} & self.cleaned_data.keys():
                    setattr(after, name, self.cleaned_data[name])
                if reasons := checks.find_reasons_against_sign_in(after, now=timezone.now()):
                    self.add_error("sign_in_enabled", ValidationError(reasons))
        if not self.instance._state.adding:
            self.has_new_route = self.sends_secrets_elsewhere("api_base_url", "ca_bundle")
        if self.has_new_route:
            self.require_secrets_again("new_secret", "new_contacts_secret")
        elif self.instance.was_enabled and "agentid" in self.changed_data and not self.cleaned_data.get("new_secret"):
            self.add_error("new_secret", _("Paste the Secret of the app with this AgentId, too."))
        self.store_secrets()


class SiteAddressForm(VersionedForm):
    """The form of a site address, which is normalised and unique by host. `suggested`: initial value; empty for the
    saved one."""

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
        url = validators.normalise_site_address(self.cleaned_data["url"])
        domain = urlsplit(url).netloc
        twins = [f"{scheme}://{domain}/" for scheme in validators.DEFAULT_PORTS]
        if SiteAddress.objects.filter(url__in=twins).exclude(pk=self.instance.pk).exists():
            raise ValidationError(_("There is a site address with this host already."), code="twin")
        return url


# Only superusers set these: a server that answers in WeCom's place could sign in as anybody of the company, also as a
# superuser.
IDENTITY_FIELDS = ("api_base_url", "authorize_base_url", "qr_base_url", "ca_bundle", "new_proxy_url")
# Once the company was enabled, the same holds for the app and for the address that receives codes.
FIXED_ONCE_ENABLED = ("agentid", "site_address", "new_secret", "new_contacts_secret")
APP_COLUMNS = frozenset({"agentid", "secret"})
# Texts of the history, which translates them. The audit trail stores old and new values itself.
SWITCHED_ON, SWITCHED_OFF = gettext_noop("enabled: no → yes"), gettext_noop("enabled: yes → no")
# Help texts that tell people why they may not change a field.
REASONS = {
    **dict.fromkeys(
        IDENTITY_FIELDS,
        _("Only a superuser may change this: a server in WeCom's place could sign people in as anybody."),
    ),
    **dict.fromkeys(
        ("agentid", "new_secret"),
        _("Only a superuser may change this once the company has been enabled: another app could name other people."),
    ),
    "new_contacts_secret": _(
        "Only a superuser may change this once the company has been enabled: it decides how people are identified."
    ),
    "site_address": _(
        "Only a superuser may change this once the company has been enabled: WeCom sends the codes there that identify "
        "people."
    ),
    "name": _(
        "Only people who manage all companies may change this once the company has been enabled: imports link "
        "people by it."
    ),
    "admin_rights_enabled": _(
        "Only a superuser may change this. Off: superusers, and administrators of more than this company, enter the "
        "administration with their password, also after a sign-in with WeCom."
    ),
}


@admin.register(Corp)
class CorpAdmin(
    ConfirmedChanges, SecretsAdmin, CredentialPages, VerificationPages, CallbackPages, ConsolePages, DiagnosisPages
):
    empty_list = _(
        "No WeCom company is connected yet. Add one: its page leads through every step, and says what is wrong."
    )
    form = CorpForm
    unconfirmed_pages = frozenset(
        f"integrations_corp_{name}" for name in ("diagnosis_run", "diagnosis_message", "verification", "write_start")
    )
    change_form_template = "admin/integrations/corp/change_form.html"
    list_display = ["name", "status_label", "last_diagnosis", "corpid", "agentid"]
    list_filter = ["is_enabled"]
    search_fields = ["name", "corpid"]
    actions = None
    fieldsets = [
        (
            _("Credentials"),
            {
                "fields": [
                    *("name", "corpid", "agentid", "new_secret", "new_contacts_secret", "remove_contacts_secret"),
                    "department_root_ids",
                ]
            },
        ),
        fold_fields(_("Sign-in"), "sign_in_enabled", "admin_rights_enabled", "domain_id", "site_address"),
        fold_fields(_("Home page and BI"), "home_page", "home_bi_page", "bi_sign_in_enabled"),
        fold_fields(
            _("Advanced"),
            *("api_base_url", "authorize_base_url", "qr_base_url"),
            *("new_proxy_url", "remove_proxy", "ca_bundle", "noted_ips"),
        ),
    ]

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/corp.js", "integrations/live.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Corp]:
        return (
            super()
            .get_queryset(request)
            .filter(pk__in=Corp.objects.visible_to(request.user))
            .select_related("site_address")
            .defer("secret", "contacts_secret", "contacts_callback_token", "contacts_callback_aes_key")
            .defer("callback_token", "callback_aes_key", "proxy_url", "ca_bundle")
        )

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Load the states of all listed corps at once."""
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        checks.fetch_states(changelist.result_list)
        return changelist

    @admin.display(description=_("status"), ordering="is_enabled")
    def status_label(self, corp: Any) -> str:
        if corp.refusal is not None:
            return show_state(State.FAILED, corp.refusal.cause)
        if corp.is_enabled or corp.first_enabled_at:
            return show_state(State.FINE if corp.is_enabled else State.DISABLED)
        return show_state(State.WAITING, gettext("not enabled yet"))

    def list_row_actions(self, request: HttpRequest, corp: Corp) -> list[RowAction]:
        actions = []
        if self.has_change_permission(request, corp):
            url = reverse("admin:integrations_corp_diagnosis_run", args=[corp.pk])
            actions.append(RowAction("test", gettext("Test connection"), url, posts=True, field=("check", "token")))
        if request.user.has_perm("integrations.sync_directory"):
            url = reverse("admin:integrations_syncrun_start", args=[corp.pk])
            actions.append(RowAction("sync", gettext("Sync directory now"), url))
        return actions

    @admin.display(description=_("last diagnosis"))
    def last_diagnosis(self, corp: Any) -> str:
        at, shown = corp.health.checked_at, show_status(corp.health.tone, corp.health.words)
        return shown if at is None else format_html("{} {}", shown, f"{timezone.localtime(at):%Y-%m-%d %H:%M}")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse people limited to some corps, who would not see the new one."""
        return super().has_add_permission(request) and not corp_condition(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Corp | None = None) -> bool:
        """Refuse a corp that was enabled once, because people and messages refer to it. Disable it instead."""
        was_enabled = obj is not None and obj.first_enabled_at is not None
        return super().has_delete_permission(request, obj) and not was_enabled

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Require no permissions for rows that belong to the corp only: its checks, jobs, events, queue and directory.
        Foreign keys protect everything else."""
        listed, counts, _needed, protected = super().get_deleted_objects(objs, request)
        return listed, counts, set(), protected

    def find_withheld(self, request: HttpRequest, obj: Corp | None) -> dict[str, StrOrPromise]:
        """Withhold the CorpId after enabling, because it decides whose userids count: a change would allow signing in
        as anybody linked with it."""
        was_enabled = obj is not None and obj.was_enabled
        if request.user.is_superuser:
            return {"corpid": ""} if was_enabled else {}
        names = [*IDENTITY_FIELDS, "admin_rights_enabled"]
        if obj is not None and (was_enabled or hooks.people().is_corpid_in_use(obj)):
            names.append("corpid")
        if was_enabled:
            names += [*FIXED_ONCE_ENABLED, *(["name"] if corp_condition(request.user) else [])]
        return {name: REASONS.get(name, "") for name in names}

    def get_fieldsets(self, request: HttpRequest, obj: Corp | None = None) -> Any:
        """Show an enabled company on two tabs: the last fieldset on its own, the others together and unfolded."""
        *usual, (title, options) = sets = super().get_fieldsets(request, obj)
        if obj is None or not obj.is_enabled:
            return sets
        usual = [(name, {**one, "classes": ["only-credentials"]}) for name, one in usual]
        return [*usual, (title, {**options, "classes": ["only-advanced"]})]

    @admin.display(description=_("Contacts sync Secret"))
    def new_contacts_secret(self, corp: Corp) -> str:
        """Show people without change permission whether the Secret is saved."""
        return gettext("saved") if corp.contacts_secret else gettext("not entered")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "site_address":
            kwargs["queryset"] = SiteAddress.objects.visible_to(request.user)
            kwargs["empty_label"] = gettext("the default one")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Corp | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        hide_related_links(form, "site_address")
        return form

    def save_model(self, request: HttpRequest, obj: Corp, form: CorpForm, change: bool) -> None:
        columns = form.list_changed_columns()
        # To another server, the saved credentials are worth nothing: then the new ones are used at once.
        if obj.was_enabled and not form.has_new_route and columns & APP_COLUMNS:
            self.stage_credentials(request, obj, obj.agentid, obj.secret)
            obj.refresh_from_db(fields=APP_COLUMNS)
            form.changed_data = [name for name in form.changed_data if name not in {"agentid", "new_secret"}]
            columns -= APP_COLUMNS
        needs_test = services.save_corp(corp=obj, changed_fields=columns)
        if columns & APP_COLUMNS:
            services.discard_credentials(corp=obj)  # waiting ones must not replace those saved now
        tidied = [
            str(form.fields[name].label)
            for name in ("name", "corpid", "agentid", "new_secret", "new_contacts_secret", "domain_id")
            if name in form.fields
            and (typed := form.data.get(form.add_prefix(name), ""))
            and typed != str(form.cleaned_data.get(name))
        ]
        if tidied:
            message = gettext("Spaces or invisible characters were removed from: %(fields)s.")
            messages.info(request, message % {"fields": ", ".join(tidied)})
        # Without a full test, repeat the checks with outdated results, except the test message, which people receive.
        runs = {} if needs_test else checks.find_latest_runs(obj)
        outdated = [name for name, run in runs.items() if name != MESSAGE and not checks.is_current(run, obj)]
        if needs_test or outdated:
            checks.request_checks(corp=obj, checks=None if needs_test else outdated, now=timezone.now())
            messages.info(
                request, gettext("The connection is being checked with what you saved: the results appear below.")
            )

    def delete_model(self, request: HttpRequest, obj: Corp) -> None:
        """Lock the row: a running check could otherwise add rows after Django has collected the rows to delete."""
        if Corp.objects.select_for_update().filter(pk=obj.pk).exists():
            super().delete_model(request, obj)

    def response_post_save_add(self, request: HttpRequest, obj: Corp) -> HttpResponseRedirect:
        return self._redirect_to_page(obj)

    def response_post_save_change(self, request: HttpRequest, obj: Corp) -> HttpResponseRedirect:
        """Redirect to the corp's page. For an enabled corp, show the tab of the diagnosis if saving started checks."""
        if not obj.is_enabled:
            return self._redirect_to_page(obj)
        is_checked = any(run.is_unfinished for run in checks.find_latest_runs(obj).values())
        return self._redirect_to_page(obj, "diagnosis" if is_checked else "credentials")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, {**ONE_SAVE_BUTTON, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        corp = self.get_object(request, unquote(object_id))
        context = {**ONE_SAVE_BUTTON, **(extra_context or {})}
        if corp is not None and self.has_view_permission(request, corp):
            context |= self._describe_panels(request, corp)
        return super().change_view(request, object_id, form_url, context)

    def _describe_panels(self, request: HttpRequest, corp: Corp) -> dict[str, Any]:
        checks.fetch_states([corp])  # each part of the page needs them
        site, now = corp.find_site_address(), timezone.now()
        return {
            "corp": corp,
            "can_act": self.has_change_permission(request, corp),
            "diagnosis_panel": self.describe_diagnosis(request, corp),
            "domain": links.find_trusted_domain(corp),
            "home_page": links.build_home_page_link(corp),
            "plain_login": links.build_plain_login_url(corp),
            "link": build_link(corp, "", ""),
            **self.describe_steps(request, corp),
            "files": [
                (code, links.name_verification_file(code), links.build_verification_file_url(site, code))
                for code in (file["code"] for file in corp.verification_files)
            ],
            "callback_panel": [callbacks.describe_callback_address(corp, kind, now=now) for kind in CallbackKind],
            "reception": describe_reception(corp, now=now),
            # Today's calls to URLs of companies that do not exist, from an outdated console or a stranger.
            "refused_elsewhere": sum(
                callbacks.count_refusals(corp_id=callbacks.NO_CORP, kind=kind, now=now) for kind in CallbackKind
            ),
            "can_stage": request.user.is_superuser and self.has_change_permission(request, corp),
            "site_address": site,
            "reasons": list_reasons_against_enabling(corp),
        }

    def get_urls(self) -> list[URLPattern]:
        """Add the pages below a corp's page. They need the right to change the corp; for `viewed`, to view it."""
        viewed: dict[tuple[str, str], CorpView] = {
            ("steps/", "steps"): self.steps_view,
            ("link/", "link"): self.link_view,
            ("diagnosis/", "diagnosis"): self.diagnosis_view,
            ("diagnosis/export/", "diagnosis_export"): self.export_view,
            ("callback/<slug:kind>/state/", "callback_state"): self.state_view,
        }
        changed: dict[tuple[str, str], CorpView] = {
            ("console/<int:write_id>/preview/", "write"): require_GET(self.write_view),
            ("console/<int:write_id>/state/", "write_state"): require_GET(self.write_state_view),
            ("console/<slug:kind>/", "write_start"): require_POST(self.write_start_view),
            ("console/<int:write_id>/confirm/", "write_confirm"): require_POST(self.write_confirm_view),
            ("diagnosis/run/", "diagnosis_run"): require_POST(self.run_view),
            ("diagnosis/message/", "diagnosis_message"): require_POST(self.message_view),
            ("credentials/check/", "credentials_check"): require_POST(self.credentials_check_view),
            ("credentials/discard/", "credentials_discard"): require_POST(self.credentials_discard_view),
            ("callback/<slug:kind>/generate/", "callback_generate"): require_POST(self.generate_view),
            ("callback/<slug:kind>/keys/", "callback_keys"): require_POST(self.keys_view),
            ("callback/<slug:kind>/paste/", "callback_paste"): self.paste_view,
            ("verification/", "verification"): require_POST(self.upload_view),
            ("verification/<slug:code>/remove/", "verification_remove"): require_POST(self.remove_view),
            ("enable/", "enable"): self.enable_view,
            ("disable/", "disable"): self.disable_view,
        }
        views: dict[tuple[str, str], View] = {}
        for (end, name), view in (viewed | changed).items():
            views[f"<int:corp_id>/{end}", name] = partial(self._open_corp, view, (end, name) in changed)
        return [*make_routes(self, views), *super().get_urls()]

    def _open_corp(
        self, view: CorpView, to_change: bool, request: HttpRequest, corp_id: int, **more: Any
    ) -> HttpResponseBase:
        """Call the view with the corp, if the person may view or change it."""
        return view(request, find_row(self, request, corp_id, to_change=to_change), **more)

    def enable_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        reasons = services.find_reasons_against_enabling(corp, now=timezone.now())
        if request.method == "POST":
            is_first = not Corp.objects.ever_enabled().exists()
            version = request.POST.get("connection_version", "")  # of the connection that the page showed
            seen = int(version) if version.isdecimal() else None
            reasons = services.enable_corp(corp=corp, by=request.user, now=timezone.now(), seen_version=seen)
            if not reasons:
                self.log_change(request, corp, [{"changed": {"fields": [SWITCHED_ON]}}])
                messages.success(request, gettext("“%(corp)s” is enabled.") % {"corp": corp})
                if is_first:
                    words = gettext("People now have two attributes: “WeCom company name” and “WeCom account”.")
                    if request.user.has_perm("accounts.view_user"):
                        people = reverse("admin:accounts_user_changelist")
                        words = format_html('{} <a href="{}">{}</a>', words, people, gettext("Set them"))
                    messages.info(request, words)
                return self._redirect_to_page(corp)
        title, status = gettext("Enable “%(corp)s”") % {"corp": corp}, 409 if request.method == "POST" else 200
        context = {"title": title, "corp": corp, "action": "enable", "reasons": reasons}
        return show_page(self, request, CONFIRMATION, context, status=status)

    def disable_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        if request.method == "POST":
            services.disable_corp(corp=corp)
            self.log_change(request, corp, [{"changed": {"fields": [SWITCHED_OFF]}}])
            messages.success(request, gettext("“%(corp)s” is disabled.") % {"corp": corp})
            return self._redirect_to_page(corp)
        title = gettext("Disable “%(corp)s”") % {"corp": corp}
        context = {"title": title, "corp": corp, "action": "disable", "effects": hooks.corp_disabling.joined(corp)}
        return show_page(self, request, CONFIRMATION, context)
