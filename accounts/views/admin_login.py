"""The way into the administration: by password or WeCom, for staff alone."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache

from accounts.authentication.admin_rights import admin_rights_allowed
from accounts.targets import HOME
from accounts.views.pages import Login


@method_decorator(never_cache, name="dispatch")
class AdminLogin(Login):
    """The login page for somebody who asked for a page of the administration; leads back to that page."""

    route = "admin:login"
    heading = gettext_lazy("Sign in to the administration")
    may_frame_panel = False
    admin_site: AdminSite | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        site = cast("AdminSite", self.admin_site)
        if request.method == "GET" and site.has_permission(request):
            return HttpResponseRedirect(self._target())
        if request.method == "GET" and request.user.is_authenticated and admin_rights_allowed(request):
            return _refused(request)
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Of somebody whom WeCom signed in without rights only the password is asked."""
        context = super().get_context_data(**kwargs)
        if admin_rights_allowed(self.request):
            return context
        return {**context, "needs_password": True, "corps": [], "corp": None, "panel": ""}

    def _target(self) -> str:
        target = super()._target()
        return reverse("admin:index") if target == HOME else target


def _refused(request: HttpRequest) -> HttpResponse:
    """Somebody who is signed in, by whichever way, and may not enter."""
    return render(request, "accounts/not_staff.html", status=403)
