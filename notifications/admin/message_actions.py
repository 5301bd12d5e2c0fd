"""Actions on single messages of the log, from a message's page or on several chosen in the list: resend, recall.

Each first shows a page that says what it would do with each message, or why it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from integrations.core.background import database_now
from notifications.admin.base import administrator
from notifications.admin.log_pages import MAY, people_words
from notifications.delivery.runs import recall, triggers
from notifications.models import Delivery, Receipt, Run
from notifications.tasks import enqueue_runs

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite

# What one page shows, and one press of its button does.
MESSAGES_AT_MOST = 50
_IDS = re.compile(r"[1-9][0-9]{0,17}(,[1-9][0-9]{0,17})*")


@dataclass(frozen=True)
class Line:
    """One message. `words`: what happens to it, or why nothing can. `number`: which resending of its run this is."""

    delivery: Delivery
    words: str
    is_possible: bool
    unknown_count: int = 0
    number: int = 0


def possible(request: HttpRequest, delivery: Delivery) -> dict[str, str]:
    """Addresses of what the person who asks may do with the message now, by name."""
    if not request.user.has_perm(MAY) or not Run.objects.visible_to(request.user).filter(pk=delivery.run_id).exists():
        return {}
    found = {}
    if _resend_line(delivery).is_possible:
        found["message_resend_url"] = address("resend", [delivery.pk])
    if _recall_line(delivery).is_possible:
        found["message_recall_url"] = address("recall", [delivery.pk])
    return found


def address(name: str, keys: Sequence[int]) -> str:
    """Of the page that asks before it is done to these messages."""
    return reverse(f"admin:notifications_delivery_{name}", args=[",".join(map(str, keys))])


def resend_page(request: HttpRequest, keys: str, *, site: AdminSite) -> HttpResponse:
    """Whoever did not get one of the messages gets it by a run of its own. The same page sent twice sends once."""
    lines = [_resend_line(delivery) for delivery in _deliveries(request, keys)]
    if request.method == "POST":
        with_unknown = request.POST.get("with_unknown") == "on"
        begun = [found for line in lines if (found := _resend(request, line, with_unknown=with_unknown)) is not None]
        new = [run.pk for run, is_new in begun if is_new]
        enqueue_runs(new)
        if new:
            text = ngettext("%(count)d message is sent again.", "%(count)d messages are sent again.", len(new))
            messages.success(request, text % {"count": len(new)})
        else:
            messages.info(request, gettext("This was asked for already; it is sent once."))
        to_run = [reverse("admin:notifications_run_change", args=[run.pk]) for run, _is_new in begun]
        return HttpResponseRedirect(to_run[0] if len(to_run) == 1 else _list())
    context = {
        "title": gettext("Send again to those not reached"),
        "unknown_count": sum(line.unknown_count for line in lines),
        "button": gettext("Send again"),
    }
    return _page(request, site, lines, context)


def recall_page(request: HttpRequest, keys: str, *, site: AdminSite) -> HttpResponse:
    """Each message that waits is canceled; each that WeCom accepted lately is taken back."""
    lines = [_recall_line(delivery) for delivery in _deliveries(request, keys)]
    if request.method == "POST":
        now = database_now()
        done = [line for line in lines if line.is_possible and recall.request_message_recall(line.delivery, now=now)]
        if done:
            text = ngettext("%(count)d message is taken back.", "%(count)d messages are taken back.", len(done))
            messages.success(request, text % {"count": len(done)})
        for line in lines:
            if line not in done:
                why = gettext("This was asked for already.") if line.is_possible else line.words
                messages.warning(request, f"{line.delivery.title}: {why}")
        return HttpResponseRedirect(_one(lines[0].delivery) if len(lines) == 1 else _list())
    context = {
        "title": gettext("Take back"),
        "note": gettext("Whoever has read one has read it; group robots' messages and mails stay."),
        "button": gettext("Take back"),
    }
    return _page(request, site, lines, context)


def _deliveries(request: HttpRequest, keys: str) -> list[Delivery]:
    """Visible messages of visible runs that the administrator may change, at most MESSAGES_AT_MOST; or 404 or 403."""
    if not _IDS.fullmatch(keys):
        raise Http404
    wanted = {int(key) for key in keys.split(",")[:MESSAGES_AT_MOST]}
    seen = Delivery.objects.visible_to(request.user).filter(run__in=Run.objects.visible_to(request.user), pk__in=wanted)
    found = seen.select_related("corp", "run__subscription__report").defer("body", "plain_body", "text")
    deliveries = list(found.order_by("-pk"))
    if len(deliveries) != len(wanted):
        raise Http404
    if not request.user.has_perm(MAY):
        raise PermissionDenied
    return deliveries


def _resend_line(delivery: Delivery) -> Line:
    refusal = triggers.message_refusal(delivery)
    if refusal is not None:
        return Line(delivery, str(refusal), is_possible=False)
    run, mark = delivery.run, delivery.mark
    count = Receipt.objects.unreached(run, mark=mark).count()
    unknown_count = Receipt.objects.unknown(run, mark=mark).count()
    words = people_words(count) if count else gettext("Nobody is known not to have got it.")
    is_possible = bool(count or unknown_count)
    return Line(delivery, words, is_possible, unknown_count, triggers.next_number(run))


def _resend(request: HttpRequest, line: Line, *, with_unknown: bool) -> tuple[Run, bool] | None:
    number = request.POST.get(f"number-{line.delivery.pk}", "")
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        return None
    known = Run.objects.filter(key=triggers.resend_key(line.delivery.run, int(number), line.delivery)).first()
    if known is not None:
        return known, False
    if not line.is_possible:
        return None
    runs, is_new = triggers.request_resend(
        line.delivery.run,
        delivery=line.delivery,
        number=int(number),
        with_unknown=with_unknown,
        person=administrator(request),
        now=database_now(),
    )
    return runs[0], is_new


def _recall_line(delivery: Delivery) -> Line:
    refusal = recall.message_refusal(delivery, now=database_now())
    if refusal is not None:
        return Line(delivery, str(refusal), is_possible=False)
    if delivery.status == Delivery.Status.ACCEPTED:
        return Line(delivery, gettext("It disappears from people's WeCom."), is_possible=True)
    return Line(delivery, gettext("It is not sent, or taken back once WeCom has accepted it."), is_possible=True)


def _list() -> str:
    return reverse("admin:notifications_delivery_changelist")


def _one(delivery: Delivery) -> str:
    return reverse("admin:notifications_delivery_change", args=[delivery.pk])


def _page(request: HttpRequest, site: AdminSite, lines: list[Line], context: dict[str, Any]) -> HttpResponse:
    request.current_app = site.name  # as Django's own admin views do
    if not any(line.is_possible for line in lines):
        context["button"] = ""
    back = _one(lines[0].delivery) if len(lines) == 1 else _list()
    context = {**site.each_context(request), "opts": Delivery._meta, "lines": lines, "back": back, **context}
    return TemplateResponse(request, "admin/notifications/message_action.html", context)
