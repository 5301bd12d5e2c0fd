"""Asks administrators to confirm their presence, if they have not done so recently, before important changes."""

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
# Name of the field of the question that holds the sealed form data.
TYPED = "_confirm-typed"
# Validity of the sealed form data.
TYPED_SECONDS = 3600


class ConfirmationMiddleware:
    """Asks for confirmation before a page of integrations.core.admin_pages.ConfirmedChanges handles a POST. It must be
    the last middleware, so that the others can refuse a request before it asks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_arguments: Any) -> HttpResponse | None:
        is_asked = request.method == "POST" and getattr(view, "needs_confirmation", False)
        return ask_for_confirmation(request) if is_asked else None


def ask_for_confirmation(request: HttpRequest) -> HttpResponse | None:
    """Return the page with the question if the person must confirm first, else None. The page holds the form data,
    sealed, and sends it back with the answer."""
    person = request.user
    if not isinstance(person, User) or not (person.is_active and person.is_staff):
        return None  # the page refuses such people
    sealed = request.POST.get(TYPED)
    if sealed is None:
        if _is_confirmed(request):
            return None
        typed = request.POST.copy()
        typed.pop("csrfmiddlewaretoken", None)
        return _ask_in_place(request, person, typed)
    # Use the form data only if it was sealed for this person and path, and recently.
    restored = None
    match unseal_values("typed", sealed, seconds=TYPED_SECONDS):
        case [person.pk, path, text] if path == request.get_full_path():
            restored = QueryDict(text)
    if restored is None:
        messages.error(request, _("This took too long. Nothing was saved: please enter it again."))
        return HttpResponseRedirect(request.get_full_path())
    if not _is_confirmed(request):
        form = ConfirmForm(request.POST, request=request, person=person)
        if not form.is_valid():
            return _ask_in_place(request, person, restored, form)
        record_confirmation(request, person)
    request.POST = restored
    return None


def show_confirmation(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation, then redirect to `next`. Without `next`, show that the confirmation was successful: the
    question is open in another tab, and this one opened after scanning the QR code."""
    person = get_signed_in_person(request)
    target = choose_safe_path(request.GET.get("next", ""))
    form = ConfirmForm(request.POST if request.method == "POST" else None, request=request, person=person)
    if not _is_confirmed(request) and form.is_valid():
        record_confirmation(request, person)
    if not _is_confirmed(request):
        return _render_question(request, person, form, scan_target=request.get_full_path())
    return _render_question(request, person, form, is_done=True) if target == HOME else HttpResponseRedirect(target)


def is_confirmation(target: str) -> bool:
    """Return whether `target`, the target of a sign-in with WeCom, is the page that asks for confirmation."""
    return target.partition("?")[0] == reverse(ROUTE)


def _ask_in_place(request: HttpRequest, person: User, typed: Any, form: ConfirmForm | None = None) -> HttpResponse:
    """Return the question in place of the page to which the form data `typed` was sent."""
    sealed = seal_values("typed", person.pk, request.get_full_path(), typed.urlencode())
    form = form or ConfirmForm(request=request, person=person)
    return _render_question(request, person, form, typed=sealed, scan_target=reverse(ROUTE))


def _render_question(request: HttpRequest, person: User, form: ConfirmForm, **more: Any) -> HttpResponse:
    # Offer the companies through which a QR code proves the person's presence.
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
    return render_admin_page(request, "admin/accounts/confirm.html", context)


def render_admin_page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page of the administration that belongs to no model. Browsers do not cache it."""
    request.current_app = admin.site.name  # as Django's own admin views do
    response = TemplateResponse(request, template, {**admin.site.each_context(request), **context})
    add_never_cache_headers(response)
    return response


def get_signed_in_person(request: HttpRequest) -> User:
    """Return the signed-in user. Raises TypeError for anonymous people: callers have checked that."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user


def _is_confirmed(request: HttpRequest) -> bool:
    return sessions.is_confirmed(request.session, timezone.now())


def record_confirmation(request: HttpRequest, person: User) -> None:
    """Store in the session that the person has just confirmed to be present, and log it."""
    sessions.record_confirmation(request.session, timezone.now())
    logger.info("confirmed user=%s", person.pk)
