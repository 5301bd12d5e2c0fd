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

from accounts import sessions
from accounts.authentication import totp
from accounts.authentication.admin_rights import admin_rights_allowed
from accounts.authentication.forms import CodeForm
from accounts.models import User
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

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A code is looked at only where its person is signed in already, and only as theirs."""
        person = self._who_may_give_a_code()
        if person is None or "code" not in request.POST:
            return super().post(request, *args, **kwargs)
        form = CodeForm(request.POST, person=person)
        if form.is_valid():
            sessions.add_code(request, person)
            return HttpResponseRedirect(self._target())
        context = self.get_context_data(form=self.get_form_class()(request), code_form=form)
        return self.render_to_response(context)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Somebody whom WeCom signed in without rights is asked for the password or a code, not for WeCom again."""
        context = super().get_context_data(**kwargs)
        if admin_rights_allowed(self.request):
            return context
        person = self._who_may_give_a_code()
        code_form = kwargs.get("code_form") or (person and CodeForm(person=person))
        return {**context, "lacks_rights": True, "code_form": code_form, "corps": [], "corp": None, "panel": ""}

    def _who_may_give_a_code(self) -> User | None:
        """Whom WeCom signed in without rights, and whose authenticator app cannot be of somebody else."""
        person = self.request.user
        if admin_rights_allowed(self.request) or not isinstance(person, User):
            return None
        return person if totp.is_independent(person) else None

    def _target(self) -> str:
        target = super()._target()
        return reverse("admin:index") if target == HOME else target


def _refused(request: HttpRequest) -> HttpResponse:
    """Somebody who is signed in, by whichever way, and may not enter."""
    return render(request, "accounts/not_staff.html", status=403)
