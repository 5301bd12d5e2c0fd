"""Admin pages of site addresses. A change is previewed, because WeCom's console must be changed too."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from integrations.admin.base import ONE_SAVE_BUTTON, show_page
from integrations.admin.companies import SiteAddressForm
from integrations.companies import services
from integrations.core import http
from integrations.core.admin_pages import VERSION, AnyModelAdmin, CappedPaginator, ConfirmedChanges
from integrations.models import Corp, SiteAddress
from integrations.models.fields import corp_condition

# Company names in the list, per address.
COMPANIES_NAMED = 3


@admin.register(SiteAddress)
class SiteAddressAdmin(ConfirmedChanges, AnyModelAdmin):
    form = SiteAddressForm
    fields = ["url"]
    list_display = ["url", "is_default", "companies", "changed_at"]
    paginator = CappedPaginator
    show_full_result_count = False
    actions = None

    class Media:
        css = {"all": ["integrations/corp.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[SiteAddress]:
        """Add the names of the first companies of each address. A count would read all companies."""
        is_default = ExpressionWrapper(OuterRef("is_default"), BooleanField())
        here = Q(site_address=OuterRef("pk")) | Q(site_address__isnull=True, is_default=True)
        names = Corp.objects.visible_to(request.user).alias(is_default=is_default).filter(here).order_by("name")
        rows = super().get_queryset(request).filter(pk__in=SiteAddress.objects.visible_to(request.user))
        first = ArraySubquery(names.values("name")[: COMPANIES_NAMED + 1])
        named: QuerySet[SiteAddress] = rows.annotate(first_companies=first).order_by("-is_default", "url")
        return named

    @admin.display(description=_("companies with this address"))
    def companies(self, address: Any) -> str:
        names = address.first_companies
        return gettext(", ").join(names[:COMPANIES_NAMED]) + ("…" if names[COMPANIES_NAMED:] else "") or "—"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse people limited to some companies, because the site serves an added address at once."""
        return super().has_add_permission(request) and not corp_condition(request.user)

    def has_change_permission(self, request: HttpRequest, obj: SiteAddress | None = None) -> bool:
        may = super().has_change_permission(request, obj)
        return may and (obj is None or not self._find_reason_against_changing(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: SiteAddress | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and (obj is None or (not obj.is_default and not self._find_reason_against_changing(request, obj)))

    def _find_reason_against_changing(self, request: HttpRequest, address: SiteAddress) -> str:
        """Return why this person may not change `address`, and who can; empty if they may (docs/decisions/0008).

        Every saved address is accepted at once as host and as origin of forms, so people who manage only some companies
        may not change it.
        """
        if getattr(request.user, "is_superuser", False):
            return ""
        # Disabled companies count, too: one could be disabled for the change and enabled again.
        if Corp.objects.at_address(address).ever_enabled().exists():
            return gettext(
                "A company that has been enabled uses this address: WeCom sends the codes there that identify people. "
                "A superuser can change it."
            )
        if corp_condition(request.user):
            return gettext("This site answers under each saved address: people who manage all companies can change it.")
        return ""

    def get_form(
        self, request: HttpRequest, obj: SiteAddress | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Suggest the current URL in a new installation."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        is_local = obj is not None and obj.is_local and obj.domain != request.get_host()
        if request.method == "GET" and is_local and not Corp.objects.exists():
            form.suggested = f"{request.scheme}://{request.get_host()}/"
        return form

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Preview a change before saving, because the console of every corp must be changed after it."""
        address = self.get_object(request, unquote(object_id)) if object_id else None
        is_change = address is not None and self.has_change_permission(request, address)
        if address is not None and is_change and request.method == "POST" and "_confirmed" not in request.POST:
            saved = SiteAddress.objects.get(pk=address.pk)  # the form changes its own instance
            form = self.get_form(request, address, change=True)(request.POST, instance=address)
            url = form.cleaned_data["url"] if form.is_valid() else saved.url
            is_here = url == f"{request.scheme}://{request.get_host()}/"
            # No preview is needed if WeCom has no link with the address and this page was opened under the new one.
            if url != saved.url and (not is_here or services.find_link_changes(address=saved, url=url)):
                new = SiteAddress(url=form.cleaned_data["url"])
                context = {
                    "title": gettext("Change the site address?"),
                    "address": saved,
                    "new": new,
                    "page_version": form.cleaned_data[VERSION],
                    "changes": services.find_link_changes(address=saved, url=new.url),
                    "leaves_this_host": saved.domain == request.get_host() and not http.is_extra_host(saved.domain),
                }
                response = show_page(self, request, "admin/integrations/siteaddress/confirm.html", context)
                # After saving, the browser is redirected to the new address, and browsers check this against
                # form-action.
                http.allow_sources(response, "form-action", [new.url.rstrip("/")])
                return response
        extra = {**ONE_SAVE_BUTTON, **(extra_context or {})}
        if address is not None and super().has_change_permission(request, address):
            extra["reason"] = self._find_reason_against_changing(request, address)
        return super().changeform_view(request, object_id, form_url, extra)

    def save_model(self, request: HttpRequest, obj: SiteAddress, form: Any, change: bool) -> None:
        services.save_site_address(address=obj)

    def response_post_save_change(self, request: HttpRequest, obj: SiteAddress) -> HttpResponseRedirect:
        """Redirect to the list, under the new address if the current one no longer works."""
        response = super().response_post_save_change(request, obj)
        host = request.get_host().lower()
        if http.find_saved_scheme(host) is not None or http.is_extra_host(host):
            return response
        return HttpResponseRedirect(obj.absolute(urlsplit(response["Location"]).path))
