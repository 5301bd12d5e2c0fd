"""Panels about pushes on other pages: companies and warnings on the start page, and what reaches a person."""

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

from accounts.admin.base import format_moment
from accounts.models import User
from accounts.users.roles import sees_all
from integrations.admin.diagnosis import may_see_corps, warn_of_unreadable_secrets
from integrations.companies.diagnosis import checks
from integrations.core.hooks import Attention, Line
from integrations.models import Corp
from notifications.admin import log
from notifications.admin.base import get_administrator
from notifications.delivery.attachments import CHARTS_QUEUE, SNAPSHOTS_QUEUE, count_overdue
from notifications.delivery.explanations import name_runs, prepare_names
from notifications.delivery.rendering.report_contents import expect_recipients
from notifications.delivery.runs import statistics
from notifications.delivery.runs.owner_notices import explain_auto_pauses
from notifications.delivery.runs.ownership import find_attentions
from notifications.delivery.sending.queue import CORP_SECRETS, find_newest_success
from notifications.models import (
    AlertRule,
    Channel,
    CorpQueue,
    Delivery,
    Incident,
    IncomingMessage,
    Receipt,
    Repeat,
    Robot,
    Run,
    Subscription,
)
from notifications.subscriptions.addressees import explain_naming
from notifications.subscriptions.calendar import describe_schedule, warn_of_calendar_end
from notifications.subscriptions.recipients import make_trial_audience, resolve_audience
from notifications.subscriptions.schedules import find_unknown_years

# Counts stop here and are shown as "1,000+".
COUNT_AT_MOST = 1000
# A message that has been due for longer is stuck: no worker takes it.
OVERDUE = timedelta(minutes=5)
# A warning names at most this number of rows.
NAMED_AT_MOST = 5
# Failures are reported for this time.
RECENT = timedelta(days=1)
# How early the end of the calendar of holidays is announced.
CALENDAR_NOTICE = timedelta(days=30)
# Warnings of enabled pushes and rules without a next time, by model.
NO_NEXT_TIME = {
    "subscription": ngettext_lazy(
        "%(count)s enabled push has no further time: save its schedule again.",
        "%(count)s enabled pushes have no further time: save their schedules again.",
        "number",
    ),
    "alertrule": ngettext_lazy(
        "%(count)s enabled alert rule has no further time: save its schedule again.",
        "%(count)s enabled alert rules have no further time: save their schedules again.",
        "number",
    ),
}


def list_push_lines(request: HttpRequest, corps: Sequence[Corp]) -> dict[int, list[Line]]:
    """Return per company today's last success and numbers of people, and the next due time. Makes four queries."""
    lines: dict[int, list[Line]] = {corp.pk: [] for corp in corps}
    if request.user.has_perm("notifications.view_delivery"):
        # Today's settled messages, and all that still wait.
        today, zone = timezone.localdate(), timezone.get_current_timezone()
        midnights = [statistics.find_midnight(today, zone, plus) for plus in (0, 1)]
        sent, waits = Delivery.objects.filter(corp__in=lines), Q(status__in=Delivery.UNSETTLED)
        todays = sent.filter(~waits, created_at__gte=midnights[0], created_at__lt=midnights[1])
        found, waiting = statistics.sum_outcomes(todays, "corp"), statistics.sum_outcomes(sent.filter(waits), "corp")
        last_sent = find_newest_success(list(lines), midnights[0])
        for pk, corp_lines in lines.items():
            # The counts are people, while the linked lists show their deliveries.
            counts, filters = found.get(pk, statistics.OutcomeCounts()), {"corp": str(pk), "day": "today"}
            todays_url = _list_url("delivery", **filters)
            refused, tone = _format_recipients(counts.refused), "bad" if counts.refused else ""
            accepted = _format_recipients(counts.accepted)
            sent_at = f"{timezone.localtime(last_sent[pk][0]):%H:%M}" if pk in last_sent else "—"
            corp_lines.append(Line(_("Last sent"), sent_at, is_main=True))
            corp_lines.append(Line(_("Accepted today"), accepted, "", todays_url, is_main=True))
            corp_lines.append(Line(_("Refused or canceled today"), refused, tone, todays_url))
            if counts.unknown:
                url = _list_url("delivery", **filters, status__exact="unknown")
                corp_lines.append(Line(_("Outcome unknown today"), _format_recipients(counts.unknown), "bad", url))
            still_to_go = waiting.get(pk, statistics.OutcomeCounts()).waiting
            url = _list_url("delivery", corp=pk, status__exact="pending")
            corp_lines.append(Line(_("Waiting"), _format_recipients(still_to_go), "", url, is_main=still_to_go > 0))
    if request.user.has_perm("notifications.view_subscription"):
        scheduled = Subscription.objects.visible_to(request.user).filter(is_enabled=True, next_run_at__isnull=False)
        # By company; the key None has the pushes to people of all companies.
        next_times: dict[int | None, datetime] = dict(
            scheduled.order_by().values_list("report__corp").annotate(next=Min("next_run_at"))
        )
        for corp in corps:
            times = (next_times.get(corp.pk), next_times.get(None))
            due = [time for time in times if time is not None and corp.is_enabled]
            words = f"{timezone.localtime(min(due)):%Y-%m-%d %H:%M}" if due else "—"
            lines[corp.pk].append(Line(_("Next due"), words))
    return lines


def _format_recipients(count: int) -> str:
    return ngettext("%(count)s recipient", "%(count)s recipients", count) % {"count": f"{count:,}"}


def warn_of_pushes(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Warn of messages that are stuck or whose outcome is unknown, failed or missed runs, paused queues, webhooks given
    up, open incidents, the end of the calendar, and disabled owners. Makes fifteen queries, two more if the calendar
    ends soon."""
    now = timezone.now()
    return [
        *find_attentions(get_administrator(request), now),
        *_warn_of_schedules(request, now),
        *_warn_of_sending(request, corps, now),
        *_warn_of_incidents_and_queues(request, corps, now),
    ]


def _warn(
    count: int, sentence: Any, url: str, tone: str = "bad", *, is_capped: bool = True, **words: str
) -> Iterator[Attention]:
    """Warn of `count` rows if there are any. `sentence`: lazily translated, with its plural chosen by "number".
    `is_capped`: the count ends at COUNT_AT_MOST."""
    if count:
        shown = f"{count:,}+" if is_capped and count == COUNT_AT_MOST else f"{count:,}"
        yield Attention(sentence % {"number": count, "count": shown, **words}, url, tone)


def _warn_of_schedules(request: HttpRequest, now: datetime) -> Iterator[Attention]:
    """Warn of pushes and alert rules without a next time, which would never run again, and, before the calendar of
    holidays ends, of pushes and rules that depend on it, by name. The link leads to the calendar, or to the list of
    these pushes or rules if the person may not edit the calendar."""
    years = find_unknown_years([(now + CALENDAR_NOTICE).date()])
    names, addresses = list[str](), list[str]()
    if sees_all(request.user) and request.user.has_perm("notifications.change_workdaycalendar"):
        addresses.append(reverse("admin:notifications_workdaycalendar_changelist"))
    without_next_time = []
    for model, rows in (("subscription", Subscription.objects.all()), ("alertrule", AlertRule.objects.all())):
        if not request.user.has_perm(f"notifications.view_{model}"):
            continue
        seen = rows.visible_to(request.user)
        # Rows without an end always have a next time, unless computing it failed.
        endless = seen.filter(is_enabled=True, next_run_at__isnull=True, valid_to__isnull=True)
        without_next_time.append(
            (endless.exclude(repeat=Repeat.ONCE), NO_NEXT_TIME[model], _list_url(model, state="enabled"))
        )
        if years:
            concerned = seen.filter(is_enabled=True).depending_on_workdays().order_by("name")
            found = list(concerned.values_list("name", flat=True)[: NAMED_AT_MOST + 1])
            names += found
            addresses += [_list_url(model, state="enabled")] if found else []
    if names:
        listed = pgettext("between days of the week", ", ").join(names[:NAMED_AT_MOST])
        words = {"calendar": warn_of_calendar_end(years[0]), "names": listed + " …" * (len(names) > NAMED_AT_MOST)}
        yield Attention(_("%(calendar)s It concerns: %(names)s") % words, addresses[0], "warn")
    for unscheduled, sentence, url in without_next_time:
        yield from _warn(_count_capped(unscheduled), sentence, url)


def _warn_of_sending(request: HttpRequest, corps: Sequence[Corp], now: datetime) -> Iterator[Attention]:
    """Warn of stuck messages, of messages with an unknown outcome, of pictures and files that no worker makes, and of
    failed, incomplete and missed runs. Name the pushes that were paused because their runs failed."""
    if request.user.has_perm("notifications.view_delivery"):
        deliveries = Delivery.objects.filter(corp__in=[corp.pk for corp in corps])
        blocked = CorpQueue.objects.blocked().values("corp")
        stuck = deliveries.sendable(now).filter(next_attempt_at__lt=now - OVERDUE).exclude(corp__in=blocked)
        sentence = ngettext_lazy(
            "%(count)s message has been due for more than five minutes and is not sent: is a worker running?",
            "%(count)s messages have been due for more than five minutes and are not sent: is a worker running?",
            "number",
        )
        yield from _warn(_count_capped(stuck), sentence, _list_url("delivery", status__exact="pending"))
        unknown = deliveries.filter(status=Delivery.Status.UNKNOWN, created_at__gte=now - RECENT)
        sentence = ngettext_lazy(
            "For %(count)s message of the last 24 hours it is not known whether it arrived.",
            "For %(count)s messages of the last 24 hours it is not known whether they arrived.",
            "number",
        )
        yield from _warn(_count_capped(unknown), sentence, _list_url("delivery", status__exact="unknown", day="week"))
        sentence = ngettext_lazy(
            "%(count)s picture or file waits and none is being made: does a worker take from the queue “%(queue)s”?",
            "%(count)s pictures or files wait and none is being made: does a worker take from the queue “%(queue)s”?",
            "number",
        )
        for queue in (CHARTS_QUEUE, SNAPSHOTS_QUEUE):
            count = count_overdue(queue, now=now, at_most=COUNT_AT_MOST)
            yield from _warn(count, sentence, _list_url("delivery", status__exact="preparing"), queue=queue)
    if request.user.has_perm("notifications.view_run"):
        recent = Run.objects.visible_to(request.user).went_wrong().filter(claimed_at__gte=now - RECENT)
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
            "In the last 24 hours %(count)s time was missed.",
            "In the last 24 hours %(count)s times were missed.",
            "number",
        )
        url = _list_url("run", status__exact="missed", day="week")
        yield from _warn(counts.get(Run.Status.MISSED, 0), sentence, url, "warn", is_capped=False)
    if request.user.has_perm("notifications.view_subscription"):
        paused = Subscription.objects.visible_to(request.user).filter(failures_paused_at__isnull=False)
        paused = paused.filter(is_enabled=False).order_by("-failures_paused_at", "pk")
        for push in paused[:NAMED_AT_MOST]:
            url = reverse("admin:notifications_subscription_change", args=[push.pk])
            yield from (Attention(sentence, url) for sentence in explain_auto_pauses([push]))


def _warn_of_incidents_and_queues(request: HttpRequest, corps: Sequence[Corp], now: datetime) -> Iterator[Attention]:
    """Warn of incidents that nobody has taken, webhooks given up within a week, robots whose keys cannot be decrypted,
    and queues that are paused or have nearly used up their daily budget."""
    if request.user.has_perm("notifications.view_incident"):
        untaken = Incident.objects.visible_to(request.user).open().unacknowledged()
        sentence = ngettext_lazy(
            "%(count)s incident is open and nobody has taken it.",
            "%(count)s incidents are open and nobody has taken them.",
            "number",
        )
        yield from _warn(_count_capped(untaken), sentence, _list_url("incident", state="untaken"))
    if request.user.has_perm("notifications.view_incomingmessage"):
        given_up = IncomingMessage.Callback.GIVEN_UP.value
        lost = IncomingMessage.objects.visible_to(request.user).filter(callback_state=given_up)
        lost = lost.filter(created_at__gt=now - timedelta(days=7))
        sentence = ngettext_lazy(
            "%(count)s webhook was given up within a week: its sender does not know what became of the message.",
            "%(count)s webhooks were given up within a week: their senders do not know what became of the messages.",
            "number",
        )
        url = _list_url("incomingmessage", callback_state__exact=given_up)
        yield from _warn(_count_capped(lost), sentence, url, "warn")
    if request.user.has_perm("notifications.view_robot"):
        yield from warn_of_unreadable_secrets(Robot.objects.visible_to(request.user))
    if request.user.has_perm("notifications.view_corpqueue"):
        relevant = CorpQueue.objects.visible_to(request.user).filter(Q(is_paused=True) | Q(daily_budget__gt=0))
        relevant = relevant.filter(Q(corp__in=[corp.pk for corp in corps]) | Q(corp__isnull=True))
        rows = list(relevant.select_related("corp").defer(*CORP_SECRETS).order_by("pk"))
        for queue in rows:
            if queue.is_paused:
                yield Attention(_("Pushes of %(corp)s are paused.") % {"corp": queue}, _link_queue(queue), "warn")
        limited = [queue for queue in rows if queue.daily_budget]
        used = statistics.count_used_today(limited)
        for queue in limited:
            percent = statistics.compute_used_percent(used.get(queue.pk, 0), queue.daily_budget)
            if percent >= statistics.WARNED_PERCENT:
                nearly_used = _("%(corp)s has used %(percent)d %% of its daily budget of messages.")
                yield Attention(nearly_used % {"corp": queue, "percent": percent}, _link_queue(queue), "warn")
        if not may_see_corps(request):  # people who see companies find these sentences beside each company
            url = reverse("admin:notifications_corpqueue_changelist")
            yield from (Attention(one, url) for one in checks.list_refusal_sentences(None, seen_by=request.user))


def _link_queue(queue: CorpQueue) -> str:
    return reverse("admin:notifications_corpqueue_change", args=[queue.pk])


def _count_capped(rows: QuerySet[Any]) -> int:
    return rows.order_by()[:COUNT_AT_MOST].count()


def _list_url(model: str, **filters: str | int) -> str:
    return f"{reverse(f'admin:notifications_{model}_changelist')}?{urlencode(filters)}"


# A person's page shows at most this number of pushes, as many alert rules, and this number of messages.
SHOWN_AT_MOST = 200
MESSAGES_SHOWN = 10


def render_person_panel(request: HttpRequest, person: User) -> SafeString:
    """Render the enabled pushes and alert rules that name the person, and the newest messages to them. Empty if the
    viewer may see none of these."""
    context: dict[str, Any] = {"person": person}
    # URL, name, kind, why it names the person, schedule, and why it would not reach the person now (empty if it would).
    lines: list[tuple[Any, ...]] = []
    if request.user.has_perm("notifications.view_subscription"):
        why = explain_naming(person, Subscription)
        seen = Subscription.objects.visible_to(request.user).filter(pk__in=why, is_enabled=True)
        seen = seen.exclude(channel=Channel.ROBOT).select_related("report").order_by("name", "pk")
        pushes = list(seen[:SHOWN_AT_MOST])
        expected = expect_recipients(pushes, timezone.now(), only=person.pk)
        for push in pushes:
            (_contents, [found]), reason = expected[push.pk], _join_reasons(why[push.pk])
            url = reverse("admin:notifications_subscription_change", args=[push.pk])
            lines.append((url, push.name, _("Push"), reason, describe_schedule(push), found.reason_text))
        context["lines"] = lines
    if request.user.has_perm("notifications.view_alertrule"):
        why = explain_naming(person, AlertRule)
        rules = AlertRule.objects.visible_to(request.user).filter(pk__in=why, is_enabled=True)
        rules = rules.exclude(channel=Channel.ROBOT).select_related("split_attribute")
        for rule in rules.order_by("name", "pk")[:SHOWN_AT_MOST]:
            reason = _join_reasons(why[rule.pk])
            if rule.split_attribute is not None:
                words = {"reason": reason, "attribute": rule.split_attribute}
                reason = _("%(reason)s; only what concerns their %(attribute)s") % words
            url = reverse("admin:notifications_alertrule_change", args=[rule.pk])
            [found] = resolve_audience(make_trial_audience(rule, person.pk))
            lines.append((url, rule.name, _("Alert"), reason, "", found.reason_text))
        context["lines"] = lines
    if request.user.has_perm("notifications.view_receipt"):
        receipts = Receipt.objects.visible_to(request.user).filter(user=person).order_by("-pk")
        nameable = prepare_names(receipts, path="run__").select_related("delivery__corp")
        newest = list(nameable.defer("delivery__body", "delivery__text")[:MESSAGES_SHOWN])
        named = name_runs({one.run_id: one.run for one in newest}.values())
        context["last_messages"] = [
            {
                "url": reverse("admin:notifications_receipt_change", args=[one.pk]),
                "title": named[one.run_id] if one.delivery is None else one.delivery.title,
                "run": named[one.run_id],
                "at": format_moment(one.run.slot_at, in_list=True),
                "state": log.show_receipt_status(one),
                "why": log.find_reason(one),
            }
            for one in newest
        ]
        context["receipts_url"] = log.build_receipts_url(user__id__exact=person.pk)
    if len(context) == 1:
        return SafeString()
    return render_to_string("admin/notifications/person_panel.html", context)


def _join_reasons(reasons: list[str]) -> str:
    return pgettext("between reasons", ", ").join(dict.fromkeys(reasons))
