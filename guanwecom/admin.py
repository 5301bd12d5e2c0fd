"""The admin site: Django's own, with our name, our index, and lists that do not count whole tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.views.admin_login import AdminLogin
from integrations.paging import CappedPaginator
from notifications.overview import overview

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.template.response import TemplateResponse

# What each list has, whoever wrote it. A facet is a full count for each choice of each filter.
LIGHT_LISTS = {
    "paginator": CappedPaginator,
    "show_full_result_count": False,
    "show_facets": admin.ShowFacets.NEVER,
}


class GuanwecomAdminSite(admin.AdminSite):
    site_header = _("guanwecom · Guandata × WeCom")
    site_title = _("guanwecom")
    index_title = _("Administration")
    index_template = "admin/notifications/index.html"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        super().register(model_or_iterable, admin_class, **{**LIGHT_LISTS, **options})

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {"overview": overview(request), **(extra_context or {})})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The site's own login page, so that administrators sign in with WeCom, too."""
        return cast("HttpResponse", AdminLogin.as_view(admin_site=self)(request))
