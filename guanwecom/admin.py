"""The admin site: Django's own, with our name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.views.admin_login import AdminLogin

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class GuanwecomAdminSite(admin.AdminSite):
    site_header = _("guanwecom · Guandata × WeCom")
    site_title = _("guanwecom")
    index_title = _("Administration")

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The site's own login page, so that administrators sign in with WeCom, too."""
        return cast("HttpResponse", AdminLogin.as_view(admin_site=self)(request))
