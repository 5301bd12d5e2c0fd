"""Evaluates alert rules: claims the due ones, waits for their data, decides once per slot.

A check without data decides nothing: no incident ends. After several in a row the rule opens a "no data" incident.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import QuerySet
from django.forms.models import model_to_dict
from django.urls import reverse
from django.utils.translation import gettext as _

from integrations.core.background import database_clock, log_errors
from integrations.datasources import fetch
from integrations.models.jobs import Moment
from notifications.alerts import charts, conditions, incidents, verdicts
from notifications.alerts.charts import Fired
from notifications.alerts.conditions import ConditionError
from notifications.alerts.verdicts import Verdict
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.delivery.rendering.report_contents import bi_link
from notifications.delivery.rows import BATCH, unlocked
from notifications.delivery.runs.owner_notices import NoticeSource, new_notice
from notifications.delivery.runs.ownership import write_ownership_notice, write_page_notice
from notifications.models import AlertCheck, AlertRule, Incident, Run
from notifications.models.alerts import TITLE_CHARACTERS
from notifications.sources import Content, OneContent
from notifications.subscriptions.schedules import ScheduleError, next_due, read_zone

if TYPE_CHECKING:
    from integrations.data.table import Table
    from integrations.models import CardData


logger = logging.getLogger(__name__)

Outcome, Kind = AlertCheck.Outcome, Incident.Kind
# A check waits this long for its data. After that the data counts as missing.
PATIENCE = timedelta(minutes=15)
KEPT = timedelta(days=30)
PROBLEM_CHARACTERS = 255
# Fields of a card that do not change which data it asks for.
_UNWATCHED = ("name", "as_of_column", "bi_page_id")


def due(now: Moment) -> list[QuerySet[Any]]:
    """Return the rules that are due or were disabled, and the checks that are not decided yet."""
    return [
        AlertRule.objects.due(now),
        AlertRule.objects.interrupted(),
        AlertCheck.objects.filter(outcome=Outcome.WAITING),
    ]


def claim_due(*, now: datetime) -> int:
    """Begin the checks of all due rules and move the rules on to their next time. Return how many. Missed times are not
    made up for: only the present state counts."""
    AlertRule.objects.interrupted().update(holding={}, absent={})
    with transaction.atomic():
        rules = list(unlocked(AlertRule.objects.due(now).order_by("next_run_at"))[:BATCH])
        for rule in rules:
            slot_at = rule.next_run_at or now
            AlertRule.objects.filter(pk=rule.pk).update(next_run_at=_next(rule, now))
            request_check(rule, slot_at=slot_at, now=now)
    return len(rules)


def follow(card_id: int, slot_at: datetime) -> None:
    """Decide the checks that wait for this card and slot once its data is ready or has failed. Called by card_data."""
    now = database_clock()()
    waiting = AlertCheck.objects.filter(card=card_id, slot_at=slot_at, outcome=Outcome.WAITING)
    states = fetch.states([card_id], slot_at=slot_at)
    for check in list(waiting.order_by("pk")):
        _decide_by_itself(check, states.get(card_id), now)


def sweep(*, now: datetime) -> int:
    """Decide checks whose data arrived without a call of `follow`, and checks that waited too long. Return how many."""
    waiting = AlertCheck.objects.filter(outcome=Outcome.WAITING).order_by("requested_at")[:BATCH]
    count = 0
    for check in waiting:
        state = fetch.states([check.card_id], slot_at=check.slot_at).get(check.card_id)
        is_over = state is not None and state.status != state.Status.WAITING
        is_late = check.requested_at < now - PATIENCE
        if is_over and _decide_by_itself(check, state, now):
            count += 1
        elif is_late:
            count += _decide_by_itself(check, None, now)
    return count


def old(now: Moment) -> QuerySet[AlertCheck]:
    """Return the checks that are too old to keep."""
    return AlertCheck.objects.filter(requested_at__lt=now - KEPT)


def renew(rule: AlertRule, *, now: datetime) -> None:
    """Reset the rule if it watches something else than at its last check: other conditions, parts or card settings.
    Every check calls this, so it does not matter where the change was made."""
    # Empty fields are left out, so that a column added by a later version changes nothing.
    asked = {name: value for name, value in model_to_dict(rule.card, exclude=_UNWATCHED).items() if value}
    said = [rule.conditions, rule.join, rule.split_column, rule.split_attribute_id, asked]
    watched = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    if rule.watched == watched:
        return
    if rule.watched:
        incidents.end_watched(rule, now=now)
        rule.holding, rule.memory, rule.absent, rule.failure_count = {}, {}, {}, 0
        rule.is_broken, rule.problem = False, ""
    rule.watched = watched
    rule.save(update_fields=["watched", "holding", "memory", "absent", "failure_count", "is_broken", "problem"])


def decide(check_id: int, state: CardData | None, *, now: datetime) -> AlertCheck.Outcome | None:
    """Decide a check from its card's data and store the outcome. `state` None: there is no data. Return None if the
    check was decided before, or if the rule was disabled or got another card meanwhile."""
    with transaction.atomic():
        check = AlertCheck.objects.select_for_update().filter(pk=check_id, outcome=Outcome.WAITING).first()
        if check is None:
            return None
        rule = (
            AlertRule.objects.select_for_update(of=("self",)).select_related("receiver", "card").get(pk=check.rule_id)
        )
        if not rule.is_enabled or rule.card_id != check.card_id:
            check.delete()
            return None
        renew(rule, now=now)
        outcome, fired = _decide_rule(rule, check, state, now)
        AlertCheck.objects.filter(pk=check.pk).update(outcome=outcome, decided_at=now)
    logger.info("rule=%d slot=%s %s", rule.pk, check.slot_at.isoformat(), outcome)
    # After the commit: the decision is kept and sent even if the charts fail.
    if fired:
        charts.request_charts(rule, fired, slot_at=check.slot_at, now=now)
    return outcome


def _decide_by_itself(check: AlertCheck, state: CardData | None, now: datetime) -> bool:
    """Decide one check, guarded: an error must not stop the other checks. Return whether there was no error."""
    with log_errors(logger, "check=%d rule=%d cannot be decided", check.pk, check.rule_id) as row:
        decide(check.pk, state, now=now)
    return row.error is None


def evaluate(rule: AlertRule, table: Table, *, at: datetime) -> dict[str, Verdict]:
    """Return the verdict of the rule's conditions for each part of the table. `at`: the slot in the rule's time zone,
    like the table's moments. Raise ConditionError for a missing column, before anything else, and for a table without
    any part, unless the rule ends incidents of absent values."""
    entered = conditions.from_rows(rule.conditions)
    columns = [name for one in entered for name in (one.column, *dict(one.filters))]
    for name in filter(None, [*columns, rule.split_column]):
        conditions.position(table, name)
    found = [verdicts.resolve_dates(one, table, at) for one in entered]
    kept = verdicts.read_kept_parts(rule, found, table, at=at)
    parts = verdicts.parts_of(rule, table)
    if not parts and not rule.absent_checks:
        raise ConditionError("cut" if table.is_cut else "no_value")
    return {
        part: verdicts.evaluate(found, rule.join, its_table, rule.memory.get(part, {}), kept(part))
        for part, its_table in parts.items()
    }


def draft_incidents(rule: AlertRule, found: dict[str, Verdict], *, now: datetime) -> list[Incident]:
    """Make, unsaved, the incidents that would open if each part whose conditions hold fired now."""
    check, link = AlertCheck(card_id=rule.card_id, slot_at=now), bi_link([rule.card])
    holding = {part: verdict for part, verdict in found.items() if verdict.holds}
    reports = [_report(rule, check, Kind.FIRING, part, verdict=verdict) for part, verdict in holding.items()]
    for report in reports:
        report.draft.link = link
    return [report.draft for report in reports]


def _decide_rule(
    rule: AlertRule, check: AlertCheck, state: CardData | None, now: datetime
) -> tuple[AlertCheck.Outcome, list[Fired]]:
    """Return the outcome, and the incidents that the rule's conditions opened."""
    if rule.checked_slot_at is not None and check.slot_at <= rule.checked_slot_at:
        return Outcome.LATE, []
    if state is None or state.status != state.Status.READY:
        problem = (state.problem if state else "") or _("There was no answer in time.")
        # True if the source no longer knows the card; None if its answer does not say.
        is_broken = True if state and state.is_lost else None
        return _without_data(rule, check, problem, now, is_broken=is_broken), []
    zone = read_zone(rule.time_zone)
    table = verdicts.localize(state.table, zone)
    try:
        found = evaluate(rule, table, at=check.slot_at.astimezone(zone))
        if found and all(one.holds is None for one in found.values()):
            raise _problem(found) or ConditionError("cut" if table.is_cut else "no_value")
    except ConditionError as error:
        # An answer without any column is an empty answer.
        known = error.reason == "no_such_column" if table.columns else None
        return _without_data(rule, check, conditions.sentence(error), now, is_broken=known), []
    opened = _with_data(rule, check, found, now, is_cut=table.is_cut)
    tables = verdicts.parts_of(rule, table) if opened else {}
    fired = [Fired(incident, found[part], tables[part]) for part, incident in opened.items()]
    return Outcome.FIRING if any(one.holds for one in found.values()) else Outcome.FINE, fired


def _with_data(
    rule: AlertRule, check: AlertCheck, found: dict[str, Verdict], now: datetime, *, is_cut: bool
) -> dict[str, Incident]:
    """Store the verdicts and apply them to the rule's incidents. Return the opened incidents by part. A part that holds
    long enough fires. A part that is there and does not hold is over. A part without an answer keeps its incident. So
    does a part that is missing from the data, for as many checks as the rule says."""
    holding, reports = {}, [_report(rule, check, Kind.NO_DATA, "", ends_at=check.slot_at)]
    parts = {}
    for part, verdict in found.items():
        if verdict.holds is None:
            continue
        if not verdict.holds:
            reports.append(_report(rule, check, Kind.FIRING, part, ends_at=check.slot_at, verdict=verdict))
            continue
        holding[part] = rule.holding.get(part, 0) + 1
        if holding[part] >= rule.hold_checks:
            is_going_on = holding[part] > rule.hold_checks
            reports.append(_report(rule, check, Kind.FIRING, part, is_going_on=is_going_on, verdict=verdict))
            parts[reports[-1].draft.key] = part
    if not is_cut:
        reports += _absences(rule, check, found)
    rule.holding, rule.memory = holding, _remembered(rule, found)
    problem = _problem(found)
    rule.problem = "" if problem is None else conditions.sentence(problem)[:PROBLEM_CHARACTERS]
    rule.failure_count, rule.checked_slot_at, rule.is_broken = 0, check.slot_at, False
    rule.save(update_fields=["holding", "memory", "absent", "failure_count", "problem", "checked_slot_at", "is_broken"])
    return {parts[incident.key]: incident for incident in _apply(reports, rule, now).opened}


def _problem(found: dict[str, Verdict]) -> ConditionError | None:
    """Return why a part's verdict is unknown; None if all are known or none gives a reason."""
    unknown = (verdict for verdict in found.values() if verdict.holds is None)
    return next((one.problem for verdict in unknown for one in verdict.found if one.problem is not None), None)


def _absences(rule: AlertRule, check: AlertCheck, found: Collection[str]) -> list[incidents.Report]:
    """End the incidents whose split value has been missing from the data for long enough."""
    if not (rule.absent_checks and rule.split_column):
        rule.absent = {}
        return []
    there = {_key(rule, Kind.FIRING, part) for part in found}
    keys = set(Incident.objects.open().filter(rule=rule, kind=Kind.FIRING).values_list("key", flat=True)) - there
    rule.absent = {key: rule.absent.get(key, 0) + 1 for key in sorted(keys)}
    ended = [key for key, count in rule.absent.items() if count >= rule.absent_checks]
    times = {"starts_at": check.slot_at, "ends_at": check.slot_at}
    return [incidents.Report(Incident(key=key, severity=rule.severity, **times)) for key in ended]


def _remembered(rule: AlertRule, found: dict[str, Verdict]) -> dict[str, Any]:
    """Return the memory of all parts, also of absent ones: they may come back. The number of parts is limited."""
    absent = {part: row for part, row in rule.memory.items() if part not in found}
    seen = {part: verdict.memory for part, verdict in found.items()}
    return dict([*absent.items(), *seen.items()][-verdicts.PARTS_AT_MOST :])


def _without_data(
    rule: AlertRule, check: AlertCheck, problem: str, now: datetime, *, is_broken: bool | None
) -> AlertCheck.Outcome:
    """Count a check without data and report it once there are enough in a row. Parts lose their count of checks that
    held in a row; the memory for the next comparison is kept. A broken rule opens no incident: its owner is notified
    once, and the rule keeps showing its problem. `is_broken`: None if the answer does not say."""
    was_broken = rule.is_broken
    rule.is_broken = was_broken if is_broken is None else is_broken
    rule.holding, rule.checked_slot_at = {}, check.slot_at
    if is_broken is not None or not was_broken:
        rule.problem = problem[:PROBLEM_CHARACTERS]
    if not rule.is_broken:
        rule.failure_count += 1
    elif not was_broken:
        rule.owner_notified_at, rule.owner_notice = None, None
    rule.save(
        update_fields=[
            *("failure_count", "holding", "problem", "checked_slot_at"),
            *("is_broken", "owner_notified_at", "owner_notice"),
        ]
    )
    if rule.failure_count >= rule.no_data_checks and not rule.is_broken:
        is_going_on = rule.failure_count > rule.no_data_checks
        report = _report(rule, check, Kind.NO_DATA, "", is_going_on=is_going_on, problem=problem)
        _apply([report], rule, now)
    return Outcome.NO_DATA


def _apply(reports: Sequence[incidents.Report], rule: AlertRule, now: datetime) -> incidents.Outcome:
    """Apply the reports, without the ends of incidents that are not open: every check would report some."""
    drafts = [report.draft for report in reports]
    link = bi_link([rule.card])
    for draft in drafts:
        draft.link = link
    ended = {draft.key for draft in drafts if draft.ends_at is not None}
    is_open = set(Incident.objects.open().filter(key__in=ended).values_list("key", flat=True))
    meant = [one for one in reports if one.draft.ends_at is None or one.draft.key in is_open]
    return incidents.apply(meant, source=rule, now=now)


def _report(
    rule: AlertRule,
    check: AlertCheck,
    kind: Incident.Kind,
    part: str,
    *,
    ends_at: datetime | None = None,
    is_going_on: bool = False,
    verdict: Verdict | None = None,
    problem: str = "",
) -> incidents.Report:
    title = f"{rule.name} · {part}" if part else rule.name
    if kind == Kind.NO_DATA:
        title = _("No data: %(name)s") % {"name": rule.name}
    labels: dict[str, Any] = {rule.split_column: part} if part else {}
    draft = Incident(
        key=_key(rule, kind, part),
        starts_at=check.slot_at,
        ends_at=ends_at,
        rule=rule,
        kind=kind,
        part=part[:255],
        corp_id=rule.receiver.corp_id,
        card_id=check.card_id,
        title=title[:TITLE_CHARACTERS],
        summary=problem or (conditions.findings(rule, verdict) if verdict is not None else ""),
        severity=rule.severity,
        labels=labels,
    )
    return incidents.Report(draft, is_going_on)


def _key(rule: AlertRule, kind: Incident.Kind, part: str) -> str:
    return incidents.key_of(f"rule:{rule.pk}", kind, f"part:{part}")


def request_check(rule: AlertRule, *, now: datetime, slot_at: datetime | None = None) -> AlertCheck:
    """Begin the check of a slot, or one asked for now, as after a data update. Two within one second are one."""
    check, is_new = AlertCheck.objects.get_or_create(
        rule=rule,
        slot_at=slot_at or now.replace(microsecond=0),
        defaults={"card_id": rule.card_id, "requested_at": now},
    )
    if is_new:
        fetch.request([rule.card_id], slot_at=check.slot_at, now=now)
    return check


def _next(rule: AlertRule, now: datetime) -> datetime | None:
    try:
        found = next_due(rule, now)
    except ScheduleError:
        logger.exception("rule=%d has no times", rule.pk)
        return None
    return None if found is None else found.due_at


# --- Notices to the owners of broken rules, whose data lacks a column or a card; one notice each time ---


def request_broken_rule_notices(*, now: datetime) -> list[int]:
    """Make the notices of broken rules whose owners do not know yet. Return the ids of their runs, to be rendered."""
    run_ids = []
    with transaction.atomic():
        for rule in unlocked(AlertRule.objects.untold().order_by("pk"))[:BATCH]:
            key, corp_id = f"rule:{rule.pk}:broken:{now:%Y%m%d%H%M%S}", rule.receiver.corp_id
            notice = new_notice(key=key, person_id=rule.owner_id, corp_id=corp_id, now=now)
            notice.save()
            AlertRule.objects.filter(pk=rule.pk).update(owner_notified_at=now, owner_notice=notice)
            run_ids.append(notice.pk)
    return run_ids


def source_of_notice(run: Run) -> AnyNoticeSource | None:
    """Return the source of a notice's run; None for another kind of run (notifications.sources.source_of)."""
    return AnyNoticeSource(run) if run.trigger == Run.Trigger.NOTICE else None


class AnyNoticeSource(NoticeSource):
    """Content of a notice, which may be about pages, ownership, a broken rule or runs."""

    def contents(self, *, now: datetime) -> OneContent:
        for write in (write_page_notice, write_ownership_notice, _write_rule_notice):
            if content := write(self.notice):
                return OneContent(content)
        return super().contents(now=now)


def _write_rule_notice(notice: Run) -> Content | None:
    """Return the text about a broken rule; None if the notice is about something else."""
    rule = AlertRule.objects.filter(owner_notice=notice.pk).first()
    if rule is None:
        return None
    title = _("Alert rule does not work: %(name)s") % {"name": rule.name}
    text = _("%(problem)s\nUntil this is put right it raises no alert. Its page asks what the data is called today.")
    link = reverse("admin:notifications_alertrule_change", args=[rule.pk])
    return Content(tidy_title(title), tidy_text(text % {"problem": rule.problem}), link=link)
