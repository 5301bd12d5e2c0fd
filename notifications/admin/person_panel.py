"""On a person's page: which pushes and alerts reach them, why, and their last messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from notifications.admin import log_pages
from notifications.admin.base import moment
from notifications.delivery.rendering.report_contents import expect_recipients
from notifications.delivery.runs import names
from notifications.models import (
    AlertReceiver,
    AlertRule,
    Channel,
    Receipt,
    Subscription,
)
from notifications.subscriptions import reasons
from notifications.subscriptions.recipients import resolve, trial_audience
from notifications.subscriptions.schedules.descriptions import described

if TYPE_CHECKING:
    from accounts.models import User

SHOWN_AT_MOST = 200
MESSAGES_SHOWN = 10


@dataclass(frozen=True)
class Line:
    """A push or an alert that names the person. `obstacle`: why it would not reach them; empty where it would."""

    kind: str
    name: str
    url: str
    when: str
    why: str
    obstacle: str


def person_panel(request: HttpRequest, person: User) -> SafeString:
    """Empty for who may see neither pushes nor alerts nor receipts."""
    context: dict[str, Any] = {"person": person}
    may_see_orders = any(request.user.has_perm(f"notifications.view_{one}") for one in ("subscription", "alertrule"))
    if may_see_orders:
        context["lines"] = [*_pushes(request, person), *_alerts(request, person)]
    if request.user.has_perm("notifications.view_receipt"):
        context["last_messages"] = _messages(request, person)
        context["receipts_url"] = log_pages.receipts_url(user__id__exact=person.pk)
    if len(context) == 1:
        return SafeString()
    return render_to_string("admin/notifications/person_panel.html", context)


def _pushes(request: HttpRequest, person: User) -> Iterator[Line]:
    if not request.user.has_perm("notifications.view_subscription"):
        return
    why = reasons.of_person(person, Subscription)
    seen = Subscription.objects.visible_to(request.user).filter(pk__in=why, is_enabled=True)
    seen = seen.exclude(channel=Channel.ROBOT).select_related("report__page_picture").order_by("name", "pk")
    pushes = list(seen[:SHOWN_AT_MOST])
    expected = expect_recipients(pushes, timezone.now(), only=person.pk)
    for one in pushes:
        [found] = expected[one.pk][1]
        yield Line(
            _("Push"),
            one.name,
            reverse("admin:notifications_subscription_change", args=[one.pk]),
            described(one),
            _joined(why[one.pk]),
            found.reason_text,
        )


def _alerts(request: HttpRequest, person: User) -> Iterator[Line]:
    """Of the rules whose recipients name the person."""
    if not request.user.has_perm("notifications.view_alertrule"):
        return
    why = reasons.of_person(person, AlertReceiver)
    rules = AlertRule.objects.visible_to(request.user).filter(receiver__in=why, is_enabled=True)
    rules = rules.exclude(receiver__channel=Channel.ROBOT).select_related("receiver", "split_attribute")
    for one in rules.order_by("name", "pk")[:SHOWN_AT_MOST]:
        reason = _joined(why[one.receiver_id])
        if one.split_attribute is not None:
            reason = _("%(reason)s; only what concerns their %(attribute)s") % {
                "reason": reason,
                "attribute": one.split_attribute,
            }
        url = reverse("admin:notifications_alertrule_change", args=[one.pk])
        [found] = resolve(trial_audience(one.receiver, person.pk))
        yield Line(_("Alert"), one.name, url, "", reason, found.reason_text)


def _joined(reasons_found: list[str]) -> str:
    return pgettext("between reasons", ", ").join(dict.fromkeys(reasons_found))


def _messages(request: HttpRequest, person: User) -> list[dict[str, Any]]:
    """The newest, with the way to each."""
    receipts = Receipt.objects.visible_to(request.user).filter(user=person).order_by("-pk")
    nameable = names.nameable(receipts, path="run__").select_related("delivery__corp")
    shown = list(nameable.defer("delivery__body", "delivery__text")[:MESSAGES_SHOWN])
    named = names.of_runs({one.run_id: one.run for one in shown}.values())
    return [
        {
            "url": reverse("admin:notifications_receipt_change", args=[one.pk]),
            "title": named[one.run_id] if one.delivery is None else one.delivery.title,
            "run": named[one.run_id],
            "at": moment(one.run.slot_at),
            "state": log_pages.state(one),
            "why": log_pages.reason(one),
        }
        for one in shown
    ]
