"""Asks administrators who have not confirmed recently to confirm that they are still present."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts.authentication import sessions
from accounts.authentication.flow import SignInKind, seal_values, unseal_values
from accounts.authentication.forms import ConfirmForm
from accounts.models import User, WeComAccount
from integrations.core.http import HOME, choose_safe_path

logger = logging.getLogger(__name__)

ROUTE = "admin:confirm"
# The field, besides those of ConfirmForm, with the form data that waits for the confirmation.
TYPED = "_confirm-typed"
# Form data waits so long for the confirmation.
TYPED_SECONDS = 3600


class ConfirmationMiddleware:
    """Asks for confirmation before a page of integrations.core.admin_pages.ConfirmedChanges handles a POST. It is the
    last middleware, so requests that another one refuses are not asked about."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_arguments: Any) -> HttpResponse | None:
        is_asked = request.method == "POST" and getattr(view, "is_confirmed", False)
        return ask_for_confirmation(request) if is_asked else None


def ask_for_confirmation(request: HttpRequest) -> HttpResponse | None:
    """Return the question if the person has to confirm first, else None. The form data comes back with the answer."""
    person = request.user
    if not isinstance(person, User) or not (person.is_active and person.is_staff):
        return None  # the page itself refuses
    sealed = request.POST.get(TYPED)
    if sealed is None:
        if _is_fresh(request):
            return None
        sent = request.POST.copy()
        sent.pop("csrfmiddlewaretoken", None)
        return _ask_in_place(request, person, sent)
    # Form data that was sealed for another person or path, or too long ago, is dropped.
    typed = None
    match unseal_values("typed", sealed, seconds=TYPED_SECONDS):
        case [person.pk, path, text] if path == request.get_full_path():
            typed = QueryDict(text)
    if typed is None:
        messages.error(request, _("This took too long. Nothing was saved: please enter it again."))
        return HttpResponseRedirect(request.get_full_path())
    if not _is_fresh(request):
        form = ConfirmForm(request.POST, request=request, person=person)
        if not form.is_valid():
            return _ask_in_place(request, person, typed, form)
        record_confirmation(request, person)
    request.POST = typed
    return None


def show_confirmation(request: HttpRequest) -> HttpResponse:
    """Ask before a page is opened. Report success to people who have scanned a code for another tab."""
    person = signed_in_person(request)
    target = choose_safe_path(request.GET.get("next", ""))
    form = ConfirmForm(request.POST if request.method == "POST" else None, request=request, person=person)
    if not _is_fresh(request) and form.is_valid():
        record_confirmation(request, person)
    if not _is_fresh(request):
        return _render_question(request, person, form, scan_target=request.get_full_path())
    return _render_question(request, person, form, is_done=True) if target == HOME else HttpResponseRedirect(target)


def is_confirmation(target: str) -> bool:
    """Return whether a sign-in with WeCom was begun to confirm the person's presence."""
    return target.partition("?")[0] == reverse(ROUTE)


def _ask_in_place(request: HttpRequest, person: User, typed: Any, form: ConfirmForm | None = None) -> HttpResponse:
    sealed = seal_values("typed", person.pk, request.get_full_path(), typed.urlencode())
    form = form or ConfirmForm(request=request, person=person)
    return _render_question(request, person, form, typed=sealed, scan_target=reverse(ROUTE))


def _render_question(request: HttpRequest, person: User, form: ConfirmForm, **more: Any) -> HttpResponse:
    # Companies whose QR code confirms the person.
    accounts = WeComAccount.objects.signing_in().filter(user=person).select_related("corp")
    corps = [account.corp for account in accounts.order_by("-is_primary", "pk") if account.corp is not None]
    context = {
        "title": _("Is it you?"),
        "form": form,
        "corps": [corp for corp in corps if sessions.proves_presence(person, corp=corp, kind=SignInKind.QR)],
        "typed_name": TYPED,
        "query": urlencode({"next": more.get("scan_target", HOME)}),
        **more,
    }
    return admin_page(request, "admin/accounts/confirm.html", context)


def admin_page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Render an uncached page of the administration that belongs to no model."""
    request.current_app = admin.site.name  # as Django's own admin views do
    response = TemplateResponse(request, template, {**admin.site.each_context(request), **context})
    add_never_cache_headers(response)
    return response


def signed_in_person(request: HttpRequest) -> User:
    """Return the signed-in user, for the type checker: callers admit nobody else."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user


def _is_fresh(request: HttpRequest) -> bool:
    return sessions.is_confirmed(request.session, timezone.now())


def record_confirmation(request: HttpRequest, person: User) -> None:
    """Store in the session that its person has just proved to be present, and log it."""
    sessions.record_confirmation(request.session, timezone.now())
    logger.info("confirmed user=%s", person.pk)
