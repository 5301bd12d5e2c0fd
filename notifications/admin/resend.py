"""Pages that resend or recall runs and single messages, after a confirmation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from integrations.admin.base import make_routes, show_page
from integrations.core.background import database_now
from notifications.admin.base import get_administrator
from notifications.delivery.explanations import name_run
from notifications.delivery.runs import recall, triggers
from notifications.models import Channel, Delivery, Receipt, Run
from notifications.tasks import enqueue_runs

# The permission to resend and recall.
PERMISSION = "notifications.change_subscription"
# Limit for one page and one confirmation.
MESSAGES_AT_MOST = 50
_IDS = re.compile(r"[1-9][0-9]{0,17}(,[1-9][0-9]{0,17})*")
_NUMBER = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class ConfirmationItem:
    """A run or one of its messages on the confirmation page. `lines`: what will happen to it, or why nothing can be
    done. `unknown_count`: people for whom it is not known whether they got it. `number`: 1 if this would be the run's
    first resend, 2 for the second."""

    row: Run | Delivery
    lines: list[str]
    is_possible: bool = True
    unknown_count: int = 0
    number: int = 0

    @property
    def delivery(self) -> Delivery | None:
        """The message if the item is one, None if it is a run."""
        return self.row if isinstance(self.row, Delivery) else None

    @property
    def run(self) -> Run:
        return self.row.run if isinstance(self.row, Delivery) else self.row

    @property
    def name(self) -> str:
        return self.row.title if isinstance(self.row, Delivery) else name_run(self.row)

    @property
    def url(self) -> str:
        return reverse(f"admin:notifications_{self.row._meta.model_name}_change", args=[self.row.pk])


def _find_rows(request: HttpRequest, *, pk: int = 0, keys: str = "") -> Sequence[Run | Delivery]:
    """Return the run or the messages that the URL names, at most MESSAGES_AT_MOST messages. Raises Http404 if the
    person may not see one of them, PermissionDenied without PERMISSION."""
    runs = Run.objects.visible_to(request.user)
    rows: list[Run | Delivery] = []
    if not keys:
        rows = [get_object_or_404(runs.select_related("subscription__report", "corp"), pk=pk)]
    elif not _IDS.fullmatch(keys):
        raise Http404
    else:
        wanted = {int(key) for key in keys.split(",")[:MESSAGES_AT_MOST]}
        seen = Delivery.objects.visible_to(request.user).filter(run__in=runs, pk__in=wanted).order_by("-pk")
        rows += seen.select_related("corp", "run__subscription__report").defer("body", "plain_body", "text")
        if len(rows) != len(wanted):
            raise Http404
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    return rows


def build_confirmation_url(name: str, keys: Sequence[int]) -> str:
    """Return the URL of the confirmation page for these messages."""
    return reverse(f"admin:notifications_delivery_{name}", args=[",".join(map(str, keys))])


def list_actions(request: HttpRequest, run: Run, delivery: Delivery | None = None) -> dict[str, str]:
    """Return the URLs of the actions that are possible now for the run and the message, by name. The entry `whole` is
    the label of the actions on the whole run."""
    if not request.user.has_perm(PERMISSION):
        return {}
    is_message = run.message_id is not None
    found = {"whole": gettext("The whole message, with its files:") if is_message else gettext("The whole run:")}
    parts = triggers.find_parts(run) if triggers.can_be_resent(run) else []
    if any(Receipt.objects.unreached(part, with_unknown=True).exists() for part in parts):
        found["resend_url"] = reverse("admin:notifications_run_resend", args=[run.pk])
    if recall.can_be_recalled(run, now=timezone.now()):
        found["recall_url"] = reverse("admin:notifications_run_recall", args=[run.pk])
    if delivery is None or not Run.objects.visible_to(request.user).filter(pk=run.pk).exists():
        return found
    if _plan_resend(delivery).is_possible:
        found["message_resend_url"] = build_confirmation_url("resend", [delivery.pk])
    if _plan_recall(delivery).is_possible:
        found["message_recall_url"] = build_confirmation_url("recall", [delivery.pk])
    return found


def list_urls(model_admin: Any, route: str) -> list[URLPattern]:
    """Return the URLs of both confirmation pages. `route`: their URL, with {} for "resend" or "recall", and with the
    parameter `pk` of a run or `keys` of messages."""
    views: dict[tuple[str, str], Callable[..., HttpResponse]] = {
        (route.format("resend"), "resend"): lambda request, **named: confirm_resend(
            model_admin, request, _find_rows(request, **named)
        ),
        (route.format("recall"), "recall"): lambda request, **named: confirm_recall(
            model_admin, request, _find_rows(request, **named)
        ),
    }
    return make_routes(model_admin, views)


# --- Resending --------------------------------------------------------------------------------------------------------


def confirm_resend(model_admin: Any, request: HttpRequest, rows: Sequence[Run | Delivery]) -> HttpResponse:
    """Ask for confirmation, then resend by new runs. The form holds a number, so submitting it twice resends once."""
    if any(isinstance(row, Run) and not triggers.can_be_resent(row) for row in rows):
        raise PermissionDenied
    items = [_plan_resend(row) for row in rows]
    numbers = [request.POST.get(f"number-{item.row.pk}", "") for item in items]
    numbered = [(item, int(text)) for item, text in zip(items, numbers, strict=True) if _NUMBER.fullmatch(text)]
    if numbered:
        begun = []  # the runs that resend each item, and whether they are new
        for item, number in numbered:
            if item.is_possible:
                found = triggers.request_resend(
                    item.run,
                    delivery=item.delivery,
                    number=number,
                    with_unknown=request.POST.get("with_unknown") == "on",
                    person=get_administrator(request),
                    now=database_now(),
                )
            else:  # resent already, or nobody is left to send to
                keys = [triggers.make_resend_key(part, number, item.delivery) for part in triggers.find_parts(item.run)]
                found = (list(Run.objects.filter(key__in=keys).order_by("pk")), False)
            begun.append(found)
        new = [run.pk for runs, is_new in begun if is_new for run in runs]
        enqueue_runs(new)
        if new:
            text = ngettext("%(count)d message is sent again.", "%(count)d messages are sent again.", len(new))
            messages.success(request, text % {"count": len(new)})
        else:
            messages.info(request, gettext("This was asked for already; it is sent once."))
        runs = [runs[0] for runs, _is_new in begun if runs]
        return _redirect_after(request, runs if len(runs) == 1 else rows)
    context = {
        "title": gettext("Send again to those not reached"),
        "unknown_count": sum(item.unknown_count for item in items),
        "button": gettext("Send again"),
    }
    return _ask_to_confirm(model_admin, request, items, context)


def _plan_resend(row: Run | Delivery) -> ConfirmationItem:
    if isinstance(row, Delivery):
        refusal = ""
        if row.is_recall_requested:
            refusal = gettext("It was taken back.")
        elif row.run.subscription_id is None and row.run.message_id is None:
            refusal = gettext("It belongs to no push any more, or to an alert: nothing says what to send.")
        elif row.status in Delivery.UNSETTLED or row.run.status not in triggers.RENDERED:
            refusal = gettext("It is still on its way.")
        if refusal:
            return ConfirmationItem(row, [refusal], is_possible=False)
        run, mark, parts = row.run, row.mark, [row.run]
    else:
        run, mark, parts = row, "", triggers.find_parts(row)
    count = _count_people([Receipt.objects.unreached(part, mark=mark) for part in parts])
    unknown_count = _count_people([Receipt.objects.unknown(part, mark=mark) for part in parts])
    words = gettext("As far as is known, nobody missed it.")
    if count:
        words = ngettext(
            "%(count)s person did not get it and will be sent to again.",
            "%(count)s people did not get it and will be sent to again.",
            count,
        ) % {"count": f"{count:,}"}
    lines = [*_note_files(row), words]
    number = Run.objects.filter(resends__in=run.find_runs_of_message()).count() + 1
    return ConfirmationItem(row, lines, bool(count or unknown_count), unknown_count, number)


def _count_people(found: list[QuerySet[Receipt]]) -> int:
    """Count the people who have these receipts. A person in several parts of a message counts once."""
    if len(found) == 1:
        return found[0].count()
    return len({user_id for receipts in found for user_id in receipts.values_list("user", flat=True)})


# --- Recalling --------------------------------------------------------------------------------------------------------


def confirm_recall(model_admin: Any, request: HttpRequest, rows: Sequence[Run | Delivery]) -> HttpResponse:
    """Ask for confirmation, then cancel waiting messages and recall those that WeCom accepted in the last 24 hours."""
    items = [_plan_recall(row) for row in rows]
    if request.method == "POST":
        person, now = get_administrator(request), database_now()
        done = [item for item in items if item.is_possible and recall.request_recall(item.row, person=person, now=now)]
        if done:
            messages.success(request, gettext("Waiting messages are canceled; the others are being taken back."))
        for item in items:
            if item not in done:
                why = gettext("This was asked for already.") if item.is_possible else " ".join(item.lines)
                messages.warning(request, f"{item.name}: {why}")
        return _redirect_after(request, rows)
    context = {
        "title": gettext("Take back"),
        "note": gettext("Some people may have read them. Messages of group robots and mails cannot be taken back."),
        "button": gettext("Take back"),
    }
    return _ask_to_confirm(model_admin, request, items, context)


def _plan_recall(row: Run | Delivery) -> ConfirmationItem:
    if isinstance(row, Run):
        what = gettext("Messages that wait are not sent. Messages of the last 24 hours disappear from people's WeCom.")
        return ConfirmationItem(row, [*_note_files(row), what])
    is_app_message = row.channel == Channel.WECOM
    if row.is_recall_requested:
        refusal = gettext("This was asked for already.")
    elif row.status in Delivery.UNSETTLED and (is_app_message or row.status != Delivery.Status.SENDING):
        return ConfirmationItem(row, [gettext("It is not sent. If WeCom accepts it first, it is taken back.")])
    elif recall.find_recallable(database_now()).filter(pk=row.pk).exists():
        return ConfirmationItem(row, [gettext("It disappears from people's WeCom.")])
    elif not is_app_message:
        refusal = gettext("Group robots' messages and mails cannot be taken back once they were sent.")
    elif row.status != Delivery.Status.ACCEPTED:
        refusal = gettext("It was not accepted by WeCom: there is nothing to take back.")
    elif not row.msgid:
        refusal = gettext("It was accepted when it was repeated: WeCom gave no number by which it could be taken back.")
    else:
        refusal = gettext("WeCom accepted it more than 24 hours ago: nothing older can be taken back.")
    return ConfirmationItem(row, [refusal], is_possible=False)


# --- The page ---------------------------------------------------------------------------------------------------------


def _note_files(row: Run | Delivery) -> list[str]:
    is_message = isinstance(row, Run) and row.message_id is not None
    return [gettext("The message and all files that came with it.")] if is_message else []


def _ask_to_confirm(
    model_admin: Any, request: HttpRequest, items: list[ConfirmationItem], context: dict[str, Any]
) -> HttpResponse:
    if not any(item.is_possible for item in items):
        context["button"] = ""
    back = items[0].url if len(items) == 1 else reverse("admin:notifications_delivery_changelist")
    return show_page(model_admin, request, "admin/notifications/resend.html", {**context, "items": items, "back": back})


def _redirect_after(request: HttpRequest, rows: Sequence[Run | Delivery]) -> HttpResponse:
    """Redirect to the page of the only row, else to the list of messages. A run of an incoming message leads to that
    message, which shows all its runs, if the person may see it."""
    if len(rows) != 1:
        return HttpResponseRedirect(reverse("admin:notifications_delivery_changelist"))
    [row] = rows
    sees_messages = request.user.has_perm("notifications.view_incomingmessage")
    if isinstance(row, Run) and row.message_id is not None and sees_messages:
        return HttpResponseRedirect(reverse("admin:notifications_incomingmessage_change", args=[row.message_id]))
    return HttpResponseRedirect(ConfirmationItem(row, []).url)
