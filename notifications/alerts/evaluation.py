"""Evaluates alert rules: claims the due ones, waits for their data, decides once per slot (a time of their schedule).

A check without data decides nothing, so no incident ends. After several in a row the rule opens a "no data" incident.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat
from django.forms.models import model_to_dict
from django.urls import reverse
from django.utils.translation import gettext as _

from integrations.core.background import database_clock, log_errors
from integrations.core.sentences import Sentence
from integrations.data.figures import EARLIER, fold_text
from integrations.data.table import Table
from integrations.datasources import fetch
from integrations.models import CardData
from notifications.alerts import charts, conditions, incidents, verdicts
from notifications.alerts.conditions import Against, ConditionError
from notifications.alerts.verdicts import EarlierDay, Verdict
from notifications.delivery.rendering.report_contents import find_bi_link
from notifications.delivery.rows import BATCH, lock_skipping
from notifications.delivery.runs.owner_notices import save_notice
from notifications.models import AlertCheck, AlertRule, Incident
from notifications.models.alerts import TITLE_CHARACTERS
from notifications.subscriptions.schedules import ScheduleError, read_zone, reschedule

logger = logging.getLogger(__name__)

Outcome, Kind = AlertCheck.Outcome, Incident.Kind
# A check waits this long for its data. After that the data counts as missing.
PATIENCE = timedelta(minutes=15)
CHECKS_KEPT = timedelta(days=30)
PROBLEM_CHARACTERS = 255  # the size of AlertRule.problem
# Fields of a card that do not change which data it asks for.
_UNWATCHED = ("name", "as_of_column", "bi_page_id")


def check_due_rules(*, now: datetime) -> tuple[int, int]:
    """Begin the checks of all due rules and set each rule's next time. Times that were missed are skipped, because only
    the present state counts. Then decide checks whose data arrived without a call of `decide_checks_of_card`, and
    checks that waited too long. Return how many were begun and how many decided."""
    # Disabled rules count their checks in a row from 0 when they are enabled again.
    AlertRule.objects.interrupted().update(holding={}, absent={})
    with transaction.atomic():
        rules = list(lock_skipping(AlertRule.objects.due(now).order_by("next_run_at"))[:BATCH])
        for rule in rules:
            slot_at, rule.next_run_at = rule.next_run_at or now, None
            try:
                reschedule(rule, now=now)
            except ScheduleError:
                logger.exception("rule=%d has no times", rule.pk)
            AlertRule.objects.filter(pk=rule.pk).update(next_run_at=rule.next_run_at)
            request_check(rule, slot_at=slot_at, now=now)
    decided_count = 0
    for check in AlertCheck.objects.filter(outcome=Outcome.WAITING).order_by("requested_at")[:BATCH]:
        state = fetch.find_card_data([check.card_id], slot_at=check.slot_at).get(check.card_id)
        is_finished = state is not None and state.status != state.Status.WAITING
        is_late = check.requested_at < now - PATIENCE
        outcome = decide_check(check.pk, state, now=now) if is_finished else None
        if outcome is None and is_late:
            outcome = decide_check(check.pk, None, now=now)
        if outcome is not None:
            decided_count += 1
    return len(rules), decided_count


def decide_checks_of_card(card_id: int, slot_at: datetime) -> None:
    """Decide the checks that wait for this card and slot once its data is ready or has failed. The hook
    `card_data_finished` calls it."""
    now = database_clock()()
    waiting = AlertCheck.objects.filter(card=card_id, slot_at=slot_at, outcome=Outcome.WAITING)
    states = fetch.find_card_data([card_id], slot_at=slot_at)
    for check in list(waiting.order_by("pk")):
        decide_check(check.pk, states.get(card_id), now=now)


def reset_changed_rule(rule: AlertRule, *, now: datetime) -> None:
    """Reset the rule and end its open incidents if its conditions, split or card settings were changed since its last
    check. Every check calls this, so it does not matter where the change was made. Runs inside the caller's
    transaction, which holds the lock on the rule."""
    # Empty fields are left out, so that a column added by a later version changes nothing.
    card = {name: value for name, value in model_to_dict(rule.card, exclude=_UNWATCHED).items() if value}
    parts = [rule.conditions, rule.join, rule.split_column, rule.split_attribute_id, card]
    watched = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    if rule.watched == watched:
        return
    if rule.watched:
        of_rule = Incident.objects.filter(rule=rule)
        still_open = of_rule.open().select_for_update(of=("self",)).order_by("pk")
        incidents.end_incidents(list(still_open), Sentence("What the rule watches was changed."), now)
        # The keys of former incidents are replaced, so the next firing is a new incident, however soon.
        of_rule.filter(key__startswith=f"rule:{rule.pk}:").update(key=Concat(Value("former:"), Cast("pk", CharField())))
        rule.holding, rule.memory, rule.absent, rule.failure_count = {}, {}, {}, 0
        rule.is_broken, rule.problem = False, ""
    rule.watched = watched
    rule.save(update_fields=["watched", "holding", "memory", "absent", "failure_count", "is_broken", "problem"])


def decide_check(check_id: int, state: CardData | None, *, now: datetime) -> AlertCheck.Outcome | None:
    """Decide a check from its card's data and store the outcome. `state` None: there is no data. Return None if the
    check was decided before, if the rule was disabled or got another card meanwhile, or after an error, which is logged
    and does not stop other checks."""
    outcome = None
    with log_errors(logger, "check=%d cannot be decided", check_id):
        with transaction.atomic():
            check = AlertCheck.objects.select_for_update().filter(pk=check_id, outcome=Outcome.WAITING).first()
            if check is None:
                return None
            rule = AlertRule.objects.select_for_update(of=("self",)).select_related("card").get(pk=check.rule_id)
            if not rule.is_enabled or rule.card_id != check.card_id:
                check.delete()
                return None
            reset_changed_rule(rule, now=now)
            outcome, fired = _decide_rule(rule, check, state, now)
            AlertCheck.objects.filter(pk=check.pk).update(outcome=outcome, decided_at=now)
        logger.info("rule=%d slot=%s %s", rule.pk, check.slot_at.isoformat(), outcome)
        # Charts come after the commit, so that the decision is kept and sent even if they fail.
        if fired:
            charts.request_charts(rule, fired, slot_at=check.slot_at, now=now)
    return outcome


def read_earlier_days(rule: AlertRule, table: Table, *, at: datetime) -> dict[Against, EarlierDay]:
    """Return the earlier days with which the rule's conditions compare, each with its data by part: the stored data of
    that day whose time of day is closest to that of `at`, the slot in the rule's time zone. A day has no parts if no
    data is stored or its columns differ. Return no days if `table` has a column of days, because it contains the
    earlier days itself. Raise ConditionError for malformed conditions."""
    saved = conditions.read_conditions(rule.conditions)
    needed = set() if verdicts.find_day_columns(table) else {one.against for one in saved if one.against is not None}
    earlier = {}
    for against in needed:
        day, parts = EARLIER[against](at.date()), dict[str, Table]()
        wanted = at.replace(year=day.year, month=day.month, day=day.day)
        midnight = wanted.replace(hour=0, minute=0, second=0, microsecond=0)
        stored_data = CardData.objects.filter(card=rule.card_id, status=CardData.Status.READY)
        that_day = stored_data.filter(slot_at__gte=midnight, slot_at__lt=midnight + timedelta(days=1))
        distances = {pk: abs(slot_at - wanted) for pk, slot_at in that_day.values_list("pk", "slot_at") if slot_at}
        if distances:
            closest = stored_data.get(pk=min(distances, key=lambda pk: distances[pk])).table
            with suppress(ConditionError):
                localized = verdicts.localize_moments(closest, read_zone(rule.time_zone))
                parts = {fold_text(part): rows for part, rows in verdicts.split_for_rule(rule, localized).items()}
        earlier[against] = EarlierDay(day, parts)
    return earlier


def _decide_rule(
    rule: AlertRule, check: AlertCheck, state: CardData | None, now: datetime
) -> tuple[AlertCheck.Outcome, list[tuple[Incident, Verdict]]]:
    """Return the outcome, and the incidents that the rule's conditions opened, each with its verdict."""
    if rule.checked_slot_at is not None and check.slot_at <= rule.checked_slot_at:
        return Outcome.LATE, []
    if state is None or state.status != state.Status.READY:
        problem = (state.problem if state else "") or _("There was no answer in time.")
        # True if the source no longer knows the card; None if its answer does not say.
        is_broken = True if state and state.is_retry_useless else None
        return _count_missing_data(rule, check, problem, now, is_broken=is_broken), []
    zone = read_zone(rule.time_zone)
    table = verdicts.localize_moments(state.table, zone)
    try:
        at = check.slot_at.astimezone(zone)
        found = verdicts.evaluate_rule(rule, table, read_earlier_days(rule, table, at=at), at=at)
        # If it is not known of any part whether the conditions hold, the check counts as one without data.
        if found and all(one.holds is None for one in found.values()):
            raise _find_problem(found) or ConditionError("cut" if table.is_cut else "no_value")
    except ConditionError as error:
        # An answer without any column is an empty answer.
        is_broken = error.reason == "no_such_column" if table.columns else None
        problem = conditions.explain_error(error)
        return _count_missing_data(rule, check, problem, now, is_broken=is_broken), []
    opened = _apply_verdicts(rule, check, found, now, is_cut=table.is_cut)
    return Outcome.FIRING if any(one.holds for one in found.values()) else Outcome.FINE, opened


def _apply_verdicts(
    rule: AlertRule, check: AlertCheck, found: dict[str, Verdict], now: datetime, *, is_cut: bool
) -> list[tuple[Incident, Verdict]]:
    """Store the verdicts and apply them to the rule's incidents. Return the opened incidents.

    A part (all rows, or those of one split value) opens an incident once the conditions have held for it in enough
    checks in a row. The incident ends once the conditions do not hold. It stays open while their result is unknown, and
    while the part is missing from the data, for as many checks as the rule says.
    """
    holding, link = {}, find_bi_link([rule.card])
    # There is data, so this draft ends the incident for missing data, if one is open.
    drafts = [draft_incident(rule, check, ends_at=check.slot_at, link=link)]
    for part, verdict in found.items():
        if verdict.holds:
            holding[part] = rule.holding.get(part, 0) + 1
            if holding[part] >= rule.hold_checks:
                drafts.append(draft_incident(rule, check, part, verdict, link=link))
                drafts[-1].is_repeated = holding[part] > rule.hold_checks
        elif verdict.holds is False:
            drafts.append(draft_incident(rule, check, part, verdict, ends_at=check.slot_at, link=link))
    if not is_cut and not (rule.absent_checks and rule.split_column):
        rule.absent = {}
    elif not is_cut:  # end the incidents whose split value has been missing from the data for long enough
        present = {_make_key(rule, Kind.FIRING, part) for part in found}
        keys = set(Incident.objects.open().filter(rule=rule, kind=Kind.FIRING).values_list("key", flat=True)) - present
        rule.absent = {key: rule.absent.get(key, 0) + 1 for key in sorted(keys)}
        times = {"starts_at": check.slot_at, "ends_at": check.slot_at}
        absent = [key for key, count in rule.absent.items() if count >= rule.absent_checks]
        drafts += [Incident(key=key, severity=rule.severity, link=link, **times) for key in absent]
    # Numbers for the next comparison. Those of absent parts are kept, because the parts may come back, up to a limit.
    memory = {part: row for part, row in rule.memory.items() if part not in found}
    memory |= {part: verdict.memory for part, verdict in found.items()}
    rule.holding, rule.memory = holding, dict([*memory.items()][-verdicts.PARTS_AT_MOST :])
    problem = _find_problem(found)
    rule.problem = "" if problem is None else conditions.explain_error(problem)[:PROBLEM_CHARACTERS]
    rule.failure_count, rule.checked_slot_at, rule.is_broken = 0, check.slot_at, False
    rule.save(update_fields=["holding", "memory", "absent", "failure_count", "problem", "checked_slot_at", "is_broken"])
    # Drop drafts that would end an incident which is not open: every check makes some.
    ended = {draft.key for draft in drafts if draft.ends_at is not None}
    open_keys = set(Incident.objects.open().filter(key__in=ended).values_list("key", flat=True))
    drafts = [draft for draft in drafts if draft.ends_at is None or draft.key in open_keys]
    outcome = incidents.apply_reports(drafts, source=rule, now=now)
    by_key = {_make_key(rule, Kind.FIRING, part): verdict for part, verdict in found.items()}
    return [(incident, by_key[incident.key]) for incident in outcome.opened]


def _find_problem(found: dict[str, Verdict]) -> ConditionError | None:
    """Return why the verdict of a part is unknown; None if all verdicts are known, or no unknown one has a reason."""
    unknown = (verdict for verdict in found.values() if verdict.holds is None)
    return next((one.problem for verdict in unknown for one in verdict.results if one.problem is not None), None)


def _count_missing_data(
    rule: AlertRule, check: AlertCheck, problem: str, now: datetime, *, is_broken: bool | None
) -> AlertCheck.Outcome:
    """Count a check without data; if there were enough in a row, open the incident for missing data. Checks in which
    conditions held are counted from 0 again; the numbers for the next comparison are kept. A broken rule opens no
    incident: its owner is notified once, and the rule keeps showing its problem. `is_broken`: None if not known."""
    was_broken = rule.is_broken
    rule.is_broken = was_broken if is_broken is None else is_broken
    rule.holding, rule.checked_slot_at = {}, check.slot_at
    if is_broken is not None or not was_broken:
        rule.problem = problem[:PROBLEM_CHARACTERS]
    if not rule.is_broken:
        rule.failure_count += 1
    elif not was_broken:
        rule.owner_notified_at = None
    rule.save(
        update_fields=["failure_count", "holding", "problem", "checked_slot_at", "is_broken", "owner_notified_at"]
    )
    if rule.failure_count >= rule.no_data_checks and not rule.is_broken:
        draft = draft_incident(rule, check, summary=problem, link=find_bi_link([rule.card]))
        draft.is_repeated = rule.failure_count > rule.no_data_checks
        incidents.apply_reports([draft], source=rule, now=now)
    return Outcome.NO_DATA


def draft_incident(
    rule: AlertRule, check: AlertCheck, part: str = "", verdict: Verdict | None = None, **fields: Any
) -> Incident:
    """Return an unsaved incident: of a part, with the part's verdict, or without a verdict the one for missing data."""
    title, kind = f"{rule.name} · {part}" if part else rule.name, Kind.FIRING
    if verdict is None:
        title, kind = _("No data: %(name)s") % {"name": rule.name}, Kind.NO_DATA
    else:
        fields["summary"] = conditions.describe_results(rule, verdict)
    return Incident(
        key=_make_key(rule, kind, part),
        starts_at=check.slot_at,
        rule=rule,
        kind=kind,
        part=part[:255],
        corp_id=rule.corp_id,
        card_id=check.card_id,
        title=title[:TITLE_CHARACTERS],
        severity=rule.severity,
        labels={rule.split_column: part} if part else {},
        **fields,
    )


def _make_key(rule: AlertRule, kind: Incident.Kind, part: str) -> str:
    return incidents.make_key(f"rule:{rule.pk}", kind, f"part:{part}")


def request_check(rule: AlertRule, *, now: datetime, slot_at: datetime | None = None) -> AlertCheck:
    """Begin the check of a slot. Without `slot_at`, such as after a data update, the check is for the present second;
    another request in the same second returns the same check."""
    check, is_new = AlertCheck.objects.get_or_create(
        rule=rule,
        slot_at=slot_at or now.replace(microsecond=0),
        defaults={"card_id": rule.card_id, "requested_at": now},
    )
    if is_new:
        fetch.request_data([rule.card_id], slot_at=check.slot_at, now=now)
    return check


# --- Notices to the owners of broken rules, whose column or card no longer exists: one each time that a rule breaks ---


def request_broken_rule_notices(*, now: datetime) -> list[int]:
    """Save notices to owners of broken rules who were not notified yet. Return the ids of the runs, to be rendered."""
    run_ids = []
    with transaction.atomic():
        for rule in lock_skipping(AlertRule.objects.unnotified().order_by("pk"))[:BATCH]:
            title = _("Alert rule does not work: %(name)s") % {"name": rule.name}
            text = _(
                "%(problem)s\nUntil this is repaired, the rule raises no alert. On its page, choose what the data is "
                "called now."
            )
            link = reverse("admin:notifications_alertrule_change", args=[rule.pk])
            notice = save_notice(
                title,
                text % {"problem": rule.problem},
                link,
                key=f"rule:{rule.pk}:broken:{now:%Y%m%d%H%M%S}",
                person_id=rule.owner_id,
                corp_id=rule.corp_id,
                now=now,
            )
            AlertRule.objects.filter(pk=rule.pk).update(owner_notified_at=now)
            run_ids.append(notice.pk)
    return run_ids
