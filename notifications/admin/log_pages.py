"""What the pages of a run, a message and a person's receipt share: people, failures, the way back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from integrations.clients.errors import Explanation
from integrations.companies.diagnosis import results
from notifications.admin.base import pill, run_people, run_pill
from notifications.delivery import failures
from notifications.delivery.rendering import report_data
from notifications.delivery.runs import names, recall, triggers
from notifications.models import Delivery, Receipt, Run, Subscription

# To send again and to take back.
MAY = "notifications.change_subscription"
# The first ones of a page, named by WeCom before the others; the lists show them all.
PEOPLE_SHOWN, RUNS_SHOWN = 10, 10
Status = Receipt.Status
LABELS = {**dict(Delivery.Status.choices), **dict(Status.choices)}


@dataclass(frozen=True)
class Step:
    """A page on the way back. `url`: empty for who may not open it."""

    label: str
    url: str


def step_to_run(request: HttpRequest, run: Run) -> Step:
    may = request.user.has_perm("notifications.view_run")
    return Step(names.of_run(run), reverse("admin:notifications_run_change", args=[run.pk]) if may else "")


def step_to_delivery(request: HttpRequest, delivery: Delivery) -> Step:
    may = request.user.has_perm("notifications.view_delivery")
    return Step(delivery.title, reverse("admin:notifications_delivery_change", args=[delivery.pk]) if may else "")


def link(step: Step) -> SafeString | str:
    return format_html('<a href="{}">{}</a>', step.url, step.label) if step.url else step.label


def technical(lines: list[tuple[Any, Any]]) -> str:
    """What a supporter asks for, one below the other, to be copied."""
    return "\n".join(f"{name}: {value}" for name, value in lines if value not in {None, ""})


def held_up(request: HttpRequest, deliveries: QuerySet[Delivery]) -> list[str]:
    """Of the companies for which some of these deliveries wait."""
    waiting = deliveries.filter(pk__in=Delivery.objects.unsettled()).order_by().values_list("corp", flat=True)
    return results.find_held_up(set(waiting.distinct()), seen_by=request.user)


def latest_runs(request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
    """List the latest runs of a push, each with its state and why it waits or whom it did not reach, as _live.html
    takes them.
    """
    runs = list(Run.objects.visible_to(request.user).filter(subscription=subscription)[:RUNS_SHOWN])
    reasons = failures.explain_runs(runs)
    unfinished = [run for run in runs if run.status in {Run.Status.WAITING, Run.Status.SENDING}]
    for run in unfinished:
        problem = report_data.problem_so_far(run) if run.status == Run.Status.WAITING else None
        reasons[run.pk] = str(problem or " ".join(held_up(request, run.deliveries.all())))
    lines = [(run, run_pill(run), *run_people(run), reasons[run.pk]) for run in runs]
    html = render_to_string("admin/notifications/subscription/_runs.html", {"runs": lines})
    return {"html": html, "is_unfinished": bool(unfinished)} if runs else {}


def failures_shown(failure: Explanation | None) -> list[tuple[Explanation, int]]:
    """As of_run gives them. 0: about one person, or none."""
    return [] if failure is None else [(failure, 0)]


def run_actions(request: HttpRequest, run: Run) -> dict[str, str]:
    """Addresses of what the person who asks may do with the run now, by name, and to `whole` what it is done."""
    if not request.user.has_perm(MAY):
        return {}
    is_message = run.message_id is not None
    found = {"whole": gettext("The whole message, with its files:") if is_message else gettext("The whole run:")}
    parts = triggers.parts_of(run) if triggers.can_be_resent(run) else []
    if any(Receipt.objects.unreached(part, with_unknown=True).exists() for part in parts):
        found["resend_url"] = reverse("admin:notifications_run_resend", args=[run.pk])
    if recall.can_be_recalled(run, now=timezone.now()):
        found["recall_url"] = reverse("admin:notifications_run_recall", args=[run.pk])
    return found


# --- People -----------------------------------------------------------------------------------------------------------


def people_context(request: HttpRequest, **lookups: int) -> dict[str, Any]:
    """How many people of a run, or of a message, stand how; and the first of them, of a run those not reached alone.
    Empty for who may not see receipts. Three queries."""
    if not request.user.has_perm("notifications.view_receipt"):
        return {}
    receipts = Receipt.objects.visible_to(request.user).filter(**lookups)
    deliveries = Delivery.objects.visible_to(request.user)
    deliveries = (
        deliveries.filter(run=lookups["run"]) if "run" in lookups else deliveries.filter(pk__in=lookups.values())
    )
    query = {f"{name}__id__exact": value for name, value in lookups.items()}
    listed = receipts.not_reached() if "run" in lookups else receipts
    listed = listed.select_related("user", "delivery__corp").defer("delivery__body", "delivery__text")
    return {
        "receipts_url": receipts_url(**query),
        "people_states": _people_states(receipts, deliveries, query),
        "people": [_Line.of(receipt) for receipt in listed.order_by("-status", "pk")[:PEOPLE_SHOWN]],
    }


@dataclass(frozen=True)
class _Line:
    """A person in a table."""

    url: str
    name: str
    account: str
    state: SafeString
    why: str

    @classmethod
    def of(cls, receipt: Receipt) -> _Line:
        url = reverse("admin:notifications_receipt_change", args=[receipt.pk])
        return cls(url, person(receipt), company_and_account(receipt), state(receipt), reason(receipt))


def people_words(count: int) -> str:
    """To how many it is sent again."""
    return ngettext(
        "%(count)d person did not get it and will be sent to again.",
        "%(count)d people did not get it and will be sent to again.",
        count,
    ) % {"count": count}


def receipts_url(**lookups: Any) -> str:
    """The list of receipts under these filters."""
    return f"{reverse('admin:notifications_receipt_changelist')}?{urlencode(lookups)}"


def person(receipt: Receipt) -> str:
    return str(receipt.user or receipt.address)


def company_and_account(receipt: Receipt) -> str:
    if receipt.delivery is None:
        return "—"
    return f"{receipt.delivery.corp.name} / {receipt.address.partition(':')[2]}"


def state(receipt: Receipt) -> SafeString:
    return pill(_status(receipt), state_words(receipt))


def state_words(receipt: Receipt) -> str:
    return str(LABELS.get(_status(receipt), ""))


def _status(receipt: Receipt) -> str:
    """Its own, else its message's."""
    return receipt.status or ("" if receipt.delivery is None else receipt.delivery.status)


def reason(receipt: Receipt) -> str:
    """Why the person did not get it, in words; empty where nothing went wrong."""
    if receipt.reason:
        return receipt.reason_text
    said = failures.explain_receipt(receipt)
    return "" if said is None else said.what


def _people_states(
    receipts: QuerySet[Receipt], deliveries: QuerySet[Delivery], query: dict[str, Any]
) -> list[tuple[SafeString, int, str]]:
    """By the messages' own counts, and the few receipts with a status of their own: nearly all have none."""
    counted: Counter[str] = Counter()
    for status, count in deliveries.order_by().values_list("status").annotate(Sum("recipient_count")):
        counted[status] += count
    own_ones = receipts.exclude(status="").order_by()
    for own, inherited, count in own_ones.values_list("status", "delivery__status").annotate(Count("pk")):
        counted[own] += count
        if own != Status.SKIPPED:  # who is skipped is not counted among a message's recipients (any more)
            counted[inherited] -= count
    return [
        (pill(status, label), counted[status], receipts_url(**query, status=status))
        for status, label in LABELS.items()
        if counted[status] > 0
    ]
