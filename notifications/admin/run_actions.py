"""Actions on the page of a run or of an incoming message: resend to those it did not reach, and recall.

An incoming message is sent again and taken back as a whole, with its files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext

from integrations.core.background import database_now
from notifications.admin.base import administrator
from notifications.admin.log_pages import MAY, people_words
from notifications.delivery.runs import names, recall, triggers
from notifications.models import Receipt, Run
from notifications.tasks import enqueue_runs

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite


def resend_page(request: HttpRequest, pk: int, *, site: AdminSite) -> HttpResponse:
    """First a page that says to how many, then the run. The same page sent twice sends once."""
    run = _run(request, pk)
    if not triggers.can_be_resent(run):
        raise PermissionDenied
    number = request.POST.get("number", "")
    if request.method == "POST" and number.isascii() and number.isdigit() and len(number) < 6:
        with_unknown = request.POST.get("with_unknown") == "on"
        person = administrator(request)
        again, is_new = triggers.request_resend(
            run, number=int(number), with_unknown=with_unknown, person=person, now=database_now()
        )
        if is_new:
            enqueue_runs([one.pk for one in again])
            messages.success(request, gettext("It is being sent. This page shows the outcome."))
        else:
            messages.info(request, gettext("This was asked for already; it is sent once."))
        return _to(request, again[0] if again else run)
    parts = triggers.parts_of(run)
    count = _people([Receipt.objects.unreached(part) for part in parts])
    unknown_count = _people([Receipt.objects.unknown(part) for part in parts])
    context = {
        "title": gettext("Send again to those not reached"),
        "lines": [*_of_message(run), people_words(count) if count else gettext("Nobody is known not to have got it.")],
        "unknown_count": unknown_count,
        "number": triggers.next_number(run),
        "button": gettext("Send again") if count or unknown_count else "",
    }
    return _page(request, run, site, context)


def recall_page(request: HttpRequest, pk: int, *, site: AdminSite) -> HttpResponse:
    """First a page that says what it does, then the recall."""
    run = _run(request, pk)
    if request.method == "POST":
        if recall.request_recall(run, person=administrator(request), now=database_now()):
            messages.success(request, gettext("What waited is canceled; the rest is being taken back from WeCom."))
        else:
            messages.info(request, gettext("This was asked for already."))
        return _to(request, run)
    context = {
        "title": gettext("Take back"),
        "lines": [
            *_of_message(run),
            gettext("Messages that wait are not sent. Messages of the last 24 hours disappear from people's WeCom."),
            gettext("Whoever has read one has read it; group robots' messages and mails stay."),
        ],
        "button": gettext("Take back"),
    }
    return _page(request, run, site, context)


def _run(request: HttpRequest, pk: int) -> Run:
    """A visible run whose orders the administrator may change, or 404 or 403."""
    run = Run.objects.visible_to(request.user).select_related("subscription__report").filter(pk=pk).first()
    if run is None:
        raise Http404
    if not request.user.has_perm(MAY):
        raise PermissionDenied
    return run


def _of_message(run: Run) -> list[str]:
    return [] if run.message_id is None else [gettext("The message and all files that came with it.")]


def _people(found: list[QuerySet[Receipt]]) -> int:
    """How many; of several parts of a message each person once."""
    if len(found) == 1:
        return found[0].count()
    return len({user_id for receipts in found for user_id in receipts.values_list("user", flat=True)})


def _to(request: HttpRequest, run: Run) -> HttpResponse:
    """Its page: of an incoming message the page that shows all its runs, for who may see it."""
    if run.message_id is not None and request.user.has_perm("notifications.view_incomingmessage"):
        return HttpResponseRedirect(reverse("admin:notifications_incomingmessage_change", args=[run.message_id]))
    return HttpResponseRedirect(reverse("admin:notifications_run_change", args=[run.pk]))


def _page(request: HttpRequest, run: Run, site: AdminSite, context: dict[str, Any]) -> HttpResponse:
    request.current_app = site.name  # as Django's own admin views do
    context = {**site.each_context(request), "opts": Run._meta, "run": run, "run_name": names.of_run(run), **context}
    return TemplateResponse(request, "admin/notifications/run_action.html", context)
