"""Panels about pushes on other pages: the start page's company cards and warnings, and what reaches a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, ngettext_lazy, pgettext

from accounts.admin.base import moment
from accounts.models import User
from accounts.users.roles import sees_all
from integrations.admin.diagnosis import about_unreadable, may_see_corps
from integrations.companies.diagnosis import checks
from integrations.core.hooks import Attention, Line
from integrations.models import Corp
from notifications.admin import log
from notifications.admin.base import administrator
from notifications.delivery.attachments import CHARTS_QUEUE, SNAPSHOTS_QUEUE, count_overdue
from notifications.delivery.explanations import name_runs, prepare_names
from notifications.delivery.rendering.report_contents import expect_recipients
from notifications.delivery.runs import statistics
from notifications.delivery.runs.owner_notices import explain_auto_pauses
from notifications.delivery.runs.ownership import find_attentions
from notifications.delivery.sending.queue import CORP_SECRETS
from notifications.models import (
    AlertRule,
    Channel,
    CorpQueue,
    Delivery,
    Incident,
    IncomingMessage,
    Receipt,
    Robot,
    Run,
    Subscription,
)
from notifications.models.alerts import IncidentQuerySet
from notifications.models.subscriptions import SubscriptionQuerySet
from notifications.subscriptions.addressees import explain_naming
from notifications.subscriptions.calendar import describe_schedule, warn_of_calendar_end
from notifications.subscriptions.recipients import resolve_audience, trial_audience
from notifications.subscriptions.schedules import unknown_years

# Counts stop here and are shown as "1,000+".
COUNTED = 1000
# A message that has been due for longer is stuck: no worker takes it.
OVERDUE = timedelta(minutes=5)
# At most so many are named in one warning.
NAMED_AT_MOST = 5
# Failures are reported for so long.
RECENT = timedelta(days=1)
# How early the end of the calendar of holidays is announced.
CALENDAR_NOTICE = timedelta(days=30)


def push_lines(request: HttpRequest, corps: Sequence[Corp]) -> dict[int, list[Line]]:
    """Return per company the numbers of people today (accepted, refused, waiting) and the next due time. Makes three
    queries."""
    lines: dict[int, list[Line]] = {corp.pk: [] for corp in corps}
    if request.user.has_perm("notifications.view_delivery"):
        zone = timezone.get_current_timezone()
        found = statistics.count_by_corp(Delivery.objects.filter(corp__in=lines), today=timezone.localdate(), zone=zone)
        for pk, its_lines in lines.items():
            its_lines += _list_todays_counts(pk, found.get(pk, statistics.Counts()))
    if request.user.has_perm("notifications.view_subscription"):
        own, everyones = _find_next_times(Subscription.objects.visible_to(request.user))
        for corp in corps:
            due = [time for time in (own.get(corp.pk), everyones) if time is not None and corp.is_enabled]
            words = f"{timezone.localtime(min(due)):%Y-%m-%d %H:%M}" if due else "—"
            lines[corp.pk].append(Line(_("Next due"), words))
    return lines


def push_attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Warn of stuck or unknown messages, failed or missed runs, paused queues, webhooks given up, open incidents, the
    end of the calendar, and owners who are gone. Makes eleven queries, two more while the calendar ends."""
    now = timezone.now()
    found = [*find_attentions(administrator(request), now), *_about_calendar(request, now), *_about_times(request)]
    if request.user.has_perm("notifications.view_delivery"):
        deliveries = Delivery.objects.filter(corp__in=[corp.pk for corp in corps])
        found += [*_about_deliveries(deliveries, now), *_about_media(now)]
    if request.user.has_perm("notifications.view_run"):
        found += _about_runs(Run.objects.visible_to(request.user), now)
    if request.user.has_perm("notifications.view_subscription"):
        found += _about_subscriptions(Subscription.objects.visible_to(request.user))
    if request.user.has_perm("notifications.view_incident"):
        found += _about_incidents(Incident.objects.visible_to(request.user))
    if request.user.has_perm("notifications.view_incomingmessage"):
        found += _about_webhooks(IncomingMessage.objects.visible_to(request.user), now)
    if request.user.has_perm("notifications.view_robot"):
        found += about_unreadable(Robot.objects.visible_to(request.user))
    if request.user.has_perm("notifications.view_corpqueue"):
        found += _about_queues(CorpQueue.objects.visible_to(request.user), corps)
        if not may_see_corps(request):  # people who see companies find it on the company's card
            sentences = checks.find_held_up(None, seen_by=request.user)
            url = reverse("admin:notifications_corpqueue_changelist")
            found += [Attention(sentence, url) for sentence in sentences]
    return found


def _warn(
    count: int, sentence: Any, url: str, tone: str = "bad", *, is_capped: bool = True, **words: str
) -> Iterator[Attention]:
    """Warn of `count` rows if there are any. `sentence`: lazily translated, with its plural chosen by "number".
    `is_capped`: the count ends at COUNTED."""
    if count:
        shown = f"{count:,}+" if is_capped and count == COUNTED else f"{count:,}"
        yield Attention(sentence % {"number": count, "count": shown, **words}, url, tone)


def _about_incidents(incidents: IncidentQuerySet) -> Iterator[Attention]:
    sentence = ngettext_lazy(
        "%(count)s incident is open and nobody has taken it.",
        "%(count)s incidents are open and nobody has taken them.",
        "number",
    )
    return _warn(_count_capped(incidents.open().unacknowledged()), sentence, _list_url("incident", state="untaken"))


def _about_webhooks(messages: QuerySet[IncomingMessage], now: datetime) -> Iterator[Attention]:
    """Warn of webhooks given up within a week: their senders do not know what became of the messages."""
    given_up = IncomingMessage.Callback.GIVEN_UP.value
    lost = messages.filter(callback_state=given_up, created_at__gt=now - timedelta(days=7))
    sentence = ngettext_lazy(
        "%(count)s webhook was given up within a week: its sender does not know what became of the message.",
        "%(count)s webhooks were given up within a week: their senders do not know what became of the messages.",
        "number",
    )
    return _warn(_count_capped(lost), sentence, _list_url("incomingmessage", callback_state__exact=given_up), "warn")


def _about_subscriptions(subscriptions: SubscriptionQuerySet) -> list[Attention]:
    """Name the pushes that were paused automatically because their runs failed."""
    paused = subscriptions.filter(failures_paused_at__isnull=False, is_enabled=False)
    paused = paused.order_by("-failures_paused_at", "pk")[:NAMED_AT_MOST]
    return [
        Attention(sentence, reverse("admin:notifications_subscription_change", args=[one.pk]))
        for one in paused
        for sentence in explain_auto_pauses([one])
    ]


def _about_queues(queues: QuerySet[CorpQueue], corps: Sequence[Corp]) -> Iterator[Attention]:
    """Warn of paused queues and of daily budgets that are nearly used up."""
    relevant = queues.filter(Q(corp__in=[corp.pk for corp in corps]) | Q(corp__isnull=True))
    relevant = relevant.filter(Q(is_paused=True) | Q(daily_budget__gt=0))
    rows = list(relevant.select_related("corp").defer(*CORP_SECRETS).order_by("pk"))
    for queue in rows:
        if queue.is_paused:
            yield Attention(_("Pushes of %(corp)s are paused.") % {"corp": queue}, _link_queue(queue), "warn")
    for queue, percent in statistics.find_nearly_used(rows):
        sentence = _("%(corp)s has used %(percent)d %% of its daily budget of messages.")
        yield Attention(sentence % {"corp": queue, "percent": percent}, _link_queue(queue), "warn")


def _link_queue(queue: CorpQueue) -> str:
    return reverse("admin:notifications_corpqueue_change", args=[queue.pk])


def _list_todays_counts(corp_id: int, counts: statistics.Counts) -> list[Line]:
    # The counts are people, while the linked lists show their deliveries.
    todays: dict[str, str | int] = {"corp": corp_id, "day": "today"}
    bad, waiting_url = counts.refused, _list_url("delivery", corp=corp_id, status__exact="pending")
    lines = [
        Line(_("Accepted today"), _format_recipients(counts.accepted), url=_list_url("delivery", **todays)),
        Line(
            _("Refused or canceled today"),
            _format_recipients(bad),
            "bad" if bad else "",
            _list_url("delivery", **todays),
        ),
        Line(_("Waiting"), _format_recipients(counts.waiting), url=waiting_url),
    ]
    if counts.unknown:
        url = _list_url("delivery", **todays, status__exact="unknown")
        lines.insert(2, Line(_("Outcome unknown today"), _format_recipients(counts.unknown), "bad", url))
    return lines


def _format_recipients(count: int) -> str:
    return ngettext("%(count)s recipient", "%(count)s recipients", count) % {"count": f"{count:,}"}


def _find_next_times(subscriptions: QuerySet[Subscription]) -> tuple[dict[int, datetime], datetime | None]:
    """Return the next due time by corp, and that of pushes to people of every company."""
    rows = (
        subscriptions.filter(is_enabled=True, next_run_at__isnull=False)
        .order_by()
        .values_list("report__corp")
        .annotate(next=Min("next_run_at"))
    )
    found: dict[int | None, datetime] = dict(rows)
    return {pk: moment for pk, moment in found.items() if pk is not None}, found.get(None)


def _about_deliveries(deliveries: QuerySet[Delivery], now: datetime) -> Iterator[Attention]:
    sendable = deliveries.sendable(now)  # type: ignore[attr-defined]  # of DeliveryQuerySet
    blocked = CorpQueue.objects.blocked().values("corp")
    stuck = sendable.filter(next_attempt_at__lt=now - OVERDUE).exclude(corp__in=blocked)
    unknown = deliveries.filter(status=Delivery.Status.UNKNOWN, created_at__gte=now - RECENT)
    sentence = ngettext_lazy(
        "%(count)s message has been due for more than five minutes and is not sent: is a worker running?",
        "%(count)s messages have been due for more than five minutes and are not sent: is a worker running?",
        "number",
    )
    yield from _warn(_count_capped(stuck), sentence, _list_url("delivery", status__exact="pending"))
    sentence = ngettext_lazy(
        "For %(count)s message of the last 24 hours it is not known whether it arrived.",
        "For %(count)s messages of the last 24 hours it is not known whether they arrived.",
        "number",
    )
    yield from _warn(_count_capped(unknown), sentence, _list_url("delivery", status__exact="unknown", day="week"))


def _about_media(now: datetime) -> Iterator[Attention]:
    """Warn of pictures and files that no worker draws, because messages wait for them."""
    sentence = ngettext_lazy(
        "%(count)s picture or file waits and none is being made: does a worker take from the queue “%(queue)s”?",
        "%(count)s pictures or files wait and none is being made: does a worker take from the queue “%(queue)s”?",
        "number",
    )
    for queue in (CHARTS_QUEUE, SNAPSHOTS_QUEUE):
        count = count_overdue(queue, now=now, at_most=COUNTED)
        yield from _warn(count, sentence, _list_url("delivery", status__exact="preparing"), queue=queue)


def _about_calendar(request: HttpRequest, now: datetime) -> list[Attention]:
    """Warn before days without known holidays begin, in one line that names the pushes and alert rules concerned. The
    link leads to the calendar, or to their list if the person may not edit it."""
    years = unknown_years([(now + CALENDAR_NOTICE).date()])
    if not years:
        return []
    names, addresses = list[str](), list[str]()
    if sees_all(request.user) and request.user.has_perm("notifications.change_workdaycalendar"):
        addresses.append(reverse("admin:notifications_workdaycalendar_changelist"))
    for name, rows in (("subscription", Subscription.objects.all()), ("alertrule", AlertRule.objects.all())):
        if request.user.has_perm(f"notifications.view_{name}"):
            concerned = rows.visible_to(request.user).filter(is_enabled=True).by_workdays().order_by("name")
            found = list(concerned.values_list("name", flat=True)[: NAMED_AT_MOST + 1])
            names += found
            addresses += [_link_enabled(name)] if found else []
    if not names:
        return []
    listed = pgettext("between days of the week", ", ").join(names[:NAMED_AT_MOST])
    words = {"calendar": warn_of_calendar_end(years[0]), "names": listed + " …" * (len(names) > NAMED_AT_MOST)}
    return [Attention(_("%(calendar)s It concerns: %(names)s") % words, addresses[0], "warn")]


def _about_times(request: HttpRequest) -> Iterator[Attention]:
    """Warn of enabled pushes and alert rules without a next time, which would stay silent for ever."""
    person = request.user
    if person.has_perm("notifications.view_subscription"):
        sentence = ngettext_lazy(
            "%(count)s enabled push has no further time: save its schedule again.",
            "%(count)s enabled pushes have no further time: save their schedules again.",
            "number",
        )
        silent = Subscription.objects.visible_to(person).without_times()
        yield from _warn(_count_capped(silent), sentence, _link_enabled("subscription"))
    if person.has_perm("notifications.view_alertrule"):
        sentence = ngettext_lazy(
            "%(count)s enabled alert rule has no further time: save its schedule again.",
            "%(count)s enabled alert rules have no further time: save their schedules again.",
            "number",
        )
        rules = AlertRule.objects.visible_to(person).without_times()
        yield from _warn(_count_capped(rules), sentence, _link_enabled("alertrule"))


def _about_runs(runs: QuerySet[Run], now: datetime) -> Iterator[Attention]:
    recent = runs.went_wrong().filter(claimed_at__gte=now - RECENT)  # type: ignore[attr-defined]  # of RunQuerySet
    counts = dict(recent.order_by().values_list("status").annotate(Count("pk")))
    sentence = ngettext_lazy(
        "%(count)s run of the last 24 hours failed.", "%(count)s runs of the last 24 hours failed.", "number"
    )
    url = _list_url("run", status__exact="failed", day="week")
    yield from _warn(counts.get(Run.Status.FAILED, 0), sentence, url, is_capped=False)
    sentence = ngettext_lazy(
        "%(count)s run of the last 24 hours did not reach everybody.",
        "%(count)s runs of the last 24 hours did not reach everybody.",
        "number",
    )
    url = _list_url("run", reached="not_all", day="week")
    yield from _warn(counts.get(Run.Status.FINISHED, 0), sentence, url, is_capped=False)
    sentence = ngettext_lazy(
        "In the last 24 hours %(count)s time was missed.", "In the last 24 hours %(count)s times were missed.", "number"
    )
    url = _list_url("run", status__exact="missed", day="week")
    yield from _warn(counts.get(Run.Status.MISSED, 0), sentence, url, "warn", is_capped=False)


def _count_capped(rows: QuerySet[Any]) -> int:
    return rows.order_by()[:COUNTED].count()


def _link_enabled(model: str) -> str:
    return _list_url(model, **{"state": "enabled"} if model == "subscription" else {"is_enabled__exact": "1"})


def _list_url(model: str, **filters: str | int) -> str:
    return f"{reverse(f'admin:notifications_{model}_changelist')}?{urlencode(filters)}"


SHOWN_AT_MOST = 200
MESSAGES_SHOWN = 10


# A push or an alert that names a person: URL, name, kind, why, when, and why it would not reach them, if so.
Naming = tuple[str, str, str, str, str, str]


def person_panel(request: HttpRequest, person: User) -> SafeString:
    """Render the pushes, alerts and messages that name the person. Empty if the viewer may see none of these."""
    context: dict[str, Any] = {"person": person}
    may_see_orders = any(request.user.has_perm(f"notifications.view_{one}") for one in ("subscription", "alertrule"))
    if may_see_orders:
        context["lines"] = [*_list_pushes(request, person), *_list_alerts(request, person)]
    if request.user.has_perm("notifications.view_receipt"):
        context["last_messages"] = _list_messages(request, person)
        context["receipts_url"] = log.receipts_url(user__id__exact=person.pk)
    if len(context) == 1:
        return SafeString()
    return render_to_string("admin/notifications/person_panel.html", context)


def _list_pushes(request: HttpRequest, person: User) -> Iterator[Naming]:
    if not request.user.has_perm("notifications.view_subscription"):
        return
    why = explain_naming(person, Subscription)
    seen = Subscription.objects.visible_to(request.user).filter(pk__in=why, is_enabled=True)
    seen = seen.exclude(channel=Channel.ROBOT).select_related("report").order_by("name", "pk")
    pushes = list(seen[:SHOWN_AT_MOST])
    expected = expect_recipients(pushes, timezone.now(), only=person.pk)
    for one in pushes:
        [found] = expected[one.pk][1]
        url, reason = reverse("admin:notifications_subscription_change", args=[one.pk]), _join_reasons(why[one.pk])
        yield url, one.name, _("Push"), reason, describe_schedule(one), found.reason_text


def _list_alerts(request: HttpRequest, person: User) -> Iterator[Naming]:
    if not request.user.has_perm("notifications.view_alertrule"):
        return
    why = explain_naming(person, AlertRule)
    rules = AlertRule.objects.visible_to(request.user).filter(pk__in=why, is_enabled=True)
    rules = rules.exclude(channel=Channel.ROBOT).select_related("split_attribute")
    for one in rules.order_by("name", "pk")[:SHOWN_AT_MOST]:
        reason = _join_reasons(why[one.pk])
        if one.split_attribute is not None:
            words = {"reason": reason, "attribute": one.split_attribute}
            reason = _("%(reason)s; only what concerns their %(attribute)s") % words
        url = reverse("admin:notifications_alertrule_change", args=[one.pk])
        [found] = resolve_audience(trial_audience(one, person.pk))
        yield url, one.name, _("Alert"), reason, "", found.reason_text


def _join_reasons(reasons_found: list[str]) -> str:
    return pgettext("between reasons", ", ").join(dict.fromkeys(reasons_found))


def _list_messages(request: HttpRequest, person: User) -> list[dict[str, Any]]:
    """Return the newest messages to the person."""
    receipts = Receipt.objects.visible_to(request.user).filter(user=person).order_by("-pk")
    nameable = prepare_names(receipts, path="run__").select_related("delivery__corp")
    shown = list(nameable.defer("delivery__body", "delivery__text")[:MESSAGES_SHOWN])
    named = name_runs({one.run_id: one.run for one in shown}.values())
    return [
        {
            "url": reverse("admin:notifications_receipt_change", args=[one.pk]),
            "title": named[one.run_id] if one.delivery is None else one.delivery.title,
            "run": named[one.run_id],
            "at": moment(one.run.slot_at),
            "state": log.show_state(one),
            "why": log.find_reason(one),
        }
        for one in shown
    ]
