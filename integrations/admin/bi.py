"""Admin pages of the BI connection: settings, key pair, test, and the administrator's own way in."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from integrations import bi
from integrations.admin.base import OneRowAdmin, own_page
from integrations.admin.bi_forms import BiConnectionForm, KeyForm
from integrations.bi import PLACE_OF_KEY, explain_findings, explain_obstacle
from integrations.core import csp, hooks
from integrations.core.queues import queue_on_commit
from integrations.core.reauthentication import ConfirmedChanges
from integrations.models import BiConnection
from integrations.models.bi import THE_ONE
from integrations.tasks import check_bi

FOLDER = "admin/integrations/biconnection"
# A test that still waits after so long has no worker.
WORKER_MISSING = timedelta(seconds=20)
# Who receives the tokens, or says who somebody is, could enter the BI as anybody, superusers among them.
IDENTITY_FIELDS = ("base_url", "external_id_source", "ca_bundle")
# The same holds for what stands in the way to the BI: a test sends a token of whoever tests.
PROXY_FIELDS = frozenset({"new_proxy_url", "remove_proxy"})
SECRET_FIELDS = frozenset({"new_api_password", "new_app_token", "remove_app_token", *PROXY_FIELDS})


@admin.register(BiConnection)
class BiConnectionAdmin(ConfirmedChanges, OneRowAdmin):
    form = BiConnectionForm
    unconfirmed_pages = frozenset({"integrations_biconnection_test", "integrations_biconnection_enter"})
    change_form_template = f"{FOLDER}/change_form.html"
    fieldsets = (
        (None, {"fields": ("base_url", "api_login", "new_api_password", "new_app_token")}),
        (_("Single sign-on"), {"fields": ("is_enabled", "provider", "external_id_source")}),
        (
            _("Addresses of its pages"),
            {
                "classes": ["collapse"],
                "fields": ("desktop_page", "phone_page", "desktop_home", "phone_home", "routed_paths"),
            },
        ),
        (
            _("Advanced"),
            {
                "classes": ["collapse"],
                "fields": (
                    *("token_seconds", "domain_id", "api_domain", "remove_app_token"),
                    *("new_proxy_url", "remove_proxy", "ca_bundle"),
                ),
            },
        ),
    )

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/corp.js", "integrations/live.js"]

    def get_readonly_fields(self, request: HttpRequest, obj: BiConnection | None = None) -> tuple[str, ...]:
        return () if request.user.is_superuser else IDENTITY_FIELDS

    def get_fieldsets(self, request: HttpRequest, obj: BiConnection | None = None) -> Any:
        """Those who may not set a write-only field do not see it: it would be empty."""
        hidden = self._withheld(request) if self.has_change_permission(request, obj) else SECRET_FIELDS
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in hidden]})
            for title, options in self.fieldsets
        ]

    def get_form(
        self, request: HttpRequest, obj: BiConnection | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        for name in self._withheld(request):
            form.base_fields.pop(name, None)  # declared, so there whatever the fieldsets name
        return form

    def _withheld(self, request: HttpRequest) -> frozenset[str]:
        return frozenset() if request.user.is_superuser else PROXY_FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[BiConnection]:
        """Without the secrets: one that no key opens any more must not keep the page shut."""
        return super().get_queryset(request).defer(*bi.SECRETS)

    # --- The page -----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        views = {
            "key/generate": require_POST(self.generate_view),
            "key/paste": self.paste_view,
            "test": require_POST(self.test_view),
            "state": require_GET(self.state_view),
            "enter": require_POST(self.enter_view),
        }
        routes = [
            path(f"{end}/", self.admin_site.admin_view(view), name=f"integrations_biconnection_{end.split('/')[-1]}")
            for end, view in views.items()
        ]
        return [*routes, *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        extra = dict(extra_context or {})
        saved = BiConnection.objects.filter(pk=THE_ONE).defer(*bi.SECRETS).first()
        if saved is not None and object_id == str(THE_ONE):
            extra |= self._panels(request, saved)
        response = super().changeform_view(request, object_id, form_url, extra)
        if saved is not None and (origin := csp.origin_of(saved.base_url)):
            csp.allow(response, "form-action", [origin])  # the test sign-in ends there
        return response

    def save_model(self, request: HttpRequest, obj: BiConnection, form: Any, change: bool) -> None:
        changed = form.changed_model_fields()
        bi.save_connection(connection=obj, changed_fields=changed)
        csp.forget()
        if request.user.has_perm("integrations.add_datasource") and (source := bi.ensure_source(obj)):
            self.log_addition(request, source, [{"added": {}}])
            message = gettext("The data source “%(name)s” was added: pushes and alerts take cards of the BI from it.")
            messages.info(request, message % {"name": source})
        if not bi.CONNECTION_FIELDS.isdisjoint(changed):
            _start_test(request)
            messages.info(request, gettext("The connection is being tested: the result appears on this page."))

    def response_post_save_change(self, request: HttpRequest, obj: BiConnection) -> HttpResponseRedirect:
        """Back to this page and not to a list: the next step stands there."""
        return self._to_page()

    def _panels(self, request: HttpRequest, saved: BiConnection) -> dict[str, Any]:
        source = hooks.external_id_of(saved.external_id_source)
        return {
            "bi": saved,
            "can_act": self.has_change_permission(request, saved),
            "may_paste": request.user.is_superuser,
            "public_key": bi.public_key(saved),
            "place_of_key": PLACE_OF_KEY,
            "caution": " ".join(filter(None, (source.objection(), source.caution()))) if source else "",
            "source": source.label if source else "",
            "own_id": source.of(request.user) if source else "",
            "test": (test := self._test_state(saved)),
            "connection_state": test["parts"]["connection-state"],
        }

    # --- Key pair -----------------------------------------------------------------------------------------------------

    def generate_view(self, request: HttpRequest) -> HttpResponse:
        saved = self._connection(request)
        if "first" in request.POST and saved.has_key:
            messages.warning(request, gettext("Somebody else saved a key pair meanwhile; it was left as it is."))
            return self._to_page("key")
        bi.generate_key(now=timezone.now())
        self.log_change(request, saved, gettext("Key pair generated."))
        messages.success(request, gettext("A key pair is generated. Paste its public key into the BI."))
        return self._to_page("key")

    def paste_view(self, request: HttpRequest) -> HttpResponse:
        """Superusers only: whoever knows the private key can enter the BI as anybody."""
        saved = self._connection(request)
        if not request.user.is_superuser:
            raise PermissionDenied
        form = KeyForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            bi.paste_key(text=form.cleaned_data["private_key"], now=timezone.now())
            self.log_change(request, saved, gettext("Private key pasted."))
            messages.success(request, gettext("The key is saved. The BI must have the public key that belongs to it."))
            return self._to_page("key")
        context = {
            "title": gettext("Paste a private key"),
            "bi": saved,
            "form": form,
        }
        response = own_page(self, request, f"{FOLDER}/paste.html", context)
        return never_cache(lambda _request: response)(request)

    # --- Test ---------------------------------------------------------------------------------------------------------

    def test_view(self, request: HttpRequest) -> HttpResponse:
        """Have the connection tested in the background; the page polls state_view."""
        self._connection(request)
        _start_test(request)
        return self._to_page("test")

    def state_view(self, request: HttpRequest) -> JsonResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return JsonResponse(self._test_state(bi.connection()))

    def enter_view(self, request: HttpRequest) -> HttpResponse:
        """Pass the administrator on as themselves, also before people are; or say why that cannot be."""
        saved = self._connection(request)
        try:
            address = bi.entrance_for(saved, request.user, page="", query="", on_phone=False, now=timezone.now())
        except bi.CannotEnter as refusal:
            missing = str(refusal.source.label) if refusal.source else ""
            messages.error(request, explain_obstacle(refusal.obstacle, missing))
            return self._to_page("test")
        self.log_change(request, saved, gettext("Test sign-in to the BI."))
        response = HttpResponseRedirect(address)
        response.headers["Referrer-Policy"] = "no-referrer"
        return never_cache(lambda _request: response)(request)

    def _test_state(self, saved: BiConnection) -> dict[str, Any]:
        requested_at = saved.check_requested_at
        is_running = requested_at is not None and saved.checked_at is None
        context = {
            "bi": saved,
            "is_running": is_running,
            "seems_lost": is_running and requested_at is not None and timezone.now() - requested_at >= WORKER_MISSING,
            "is_outdated": saved.checked_at is not None and saved.checked_version != saved.connection_version,
            "lines": explain_findings(saved.check_results) if saved.checked_at else [],
        }
        parts = {"connection-state": render_to_string(f"{FOLDER}/_state.html", context)}
        html = render_to_string(f"{FOLDER}/_test.html", context)
        return {"is_unfinished": is_running, "html": html, "parts": parts}

    def _connection(self, request: HttpRequest) -> BiConnection:
        """The row, for somebody who may change it; else 403."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return bi.ensure_connection()

    def _to_page(self, section: str = "") -> HttpResponseRedirect:
        address = reverse("admin:integrations_biconnection_change", args=[THE_ONE])
        return HttpResponseRedirect(f"{address}#{section}" if section else address)


def _start_test(request: HttpRequest) -> None:
    """The page shows what comes of it."""
    bi.request_test(person=request.user, now=timezone.now())
    queue_on_commit(check_bi, THE_ONE, otherwise=partial(bi.give_up_test, clock=timezone.now))
