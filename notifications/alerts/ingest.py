"""Receives alerts from outside: matches routes, updates incidents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

from notifications.alerts import card_updates, incidents, matchers
from notifications.alerts.payloads import Alert, severity_of
from notifications.delivery import counters
from notifications.models import AlertRoute, AlertRule, ApiToken, Incident
from notifications.models.alert_rules import AlertRuleQuerySet
from notifications.models.alerts import AlertRouteQuerySet

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Received:
    """How many alerts did what. `unrouted`: no route took them, so nobody was told. An alert that several routes took
    counts in each."""

    received: int
    opened: int
    reopened: int
    resolved: int
    unchanged: int
    unrouted: int


def routes_of(token: ApiToken) -> AlertRouteQuerySet:
    """The enabled routes that take what this token hands in."""
    return _within_reach(token).filter(is_enabled=True)


def _within_reach(token: ApiToken) -> AlertRouteQuerySet:
    """Of the routes that its owner sees, those that it was limited to, and that are not for other senders."""
    routes = AlertRoute.objects.visible_to(token.owner)
    routes = routes.filter(Q(is_limited_to_senders=False) | Q(senders=token)).distinct()
    if token.reach == ApiToken.Reach.CORPS:
        return routes.filter(receiver__corp__in=token.corps.all())
    return routes if token.reach == ApiToken.Reach.EVERYTHING else routes.none()


def rules_of(token: ApiToken) -> AlertRuleQuerySet:
    """The rules that this token may have checked: of what its owner sees, what it was limited to."""
    rules = AlertRule.objects.visible_to(token.owner)
    if token.reach == ApiToken.Reach.CORPS:
        return rules.filter(receiver__corp__in=token.corps.all())
    return rules if token.reach == ApiToken.Reach.EVERYTHING else rules.none()


def taking(routes: Iterable[AlertRoute], labels: Mapping[str, str]) -> list[AlertRoute]:
    """The routes that take an alert, in their order: up to the first that does not go on."""
    found = []
    for route in routes:
        if matchers.takes_all(matchers.from_rows(route.matchers), labels):
            found.append(route)
            if not route.goes_on:
                break
    return found


def receive(alerts: Sequence[Alert], *, truncated_count: int, token: ApiToken, now: datetime) -> Received:
    """Bring incidents up to what a sender says. Repeated, late and out of order it comes to the same."""
    routes = list(routes_of(token).in_order())
    opened_by = _opened_by(alerts, token)
    planned: dict[int, list[Alert]] = defaultdict(list)
    unrouted_count = 0
    for alert in alerts:
        found = {route.pk for route in taking(routes, alert.labels)}
        if alert.ends_at is not None:
            found |= opened_by[alert.fingerprint]
        unrouted_count += not found
        for route_id in found:
            planned[route_id].append(alert)
    outcomes = _applied(planned, truncated_count, token, now)
    counters.count_received(len(alerts), unrouted_count)
    return Received(
        received=len(alerts),
        opened=sum(len(one.opened) for one in outcomes),
        reopened=sum(len(one.reopened) for one in outcomes),
        resolved=sum(len(one.resolved) for one in outcomes),
        unchanged=sum(one.seen_count + one.ignored_count for one in outcomes),
        unrouted=unrouted_count,
    )


def _opened_by(alerts: Sequence[Alert], token: ApiToken) -> Mapping[str, set[int]]:
    """By fingerprint, of what is over now: which routes hold it for open. One may have been disabled meanwhile, or
    another may come before it: its end is an end all the same."""
    ended, found = {alert.fingerprint for alert in alerts if alert.ends_at is not None}, defaultdict(set)
    if ended:
        open_ones = Incident.objects.open().filter(route__in=_within_reach(token), kind=Incident.Kind.FIRING)
        for route_id, key in open_ones.values_list("route_id", "key"):
            fingerprint = key.rpartition(":")[2]
            if fingerprint in ended:
                found[fingerprint].add(route_id)
    return found


def _applied(
    planned: Mapping[int, list[Alert]], truncated_count: int, token: ApiToken, now: datetime
) -> list[incidents.Outcome]:
    outcomes = []
    with transaction.atomic():
        # Locked: of two senders at once, the second must see the incident that the first opened.
        locked = AlertRoute.objects.select_for_update(of=("self",)).select_related("receiver").order_by("pk")
        for route in locked.filter(pk__in=planned):
            reports = [_report(alert, route, token) for alert in planned[route.pk]]
            outcome = incidents.apply(reports, source=route, now=now)
            if truncated_count and outcome.opened:
                first = outcome.opened[0]
                first.truncated_count = truncated_count
                first.save(update_fields=["truncated_count"])
            card_updates.mark_stale([*outcome.resolved, *outcome.reopened], now=now)
            outcomes.append(outcome)
    return outcomes


def _report(alert: Alert, route: AlertRoute, token: ApiToken) -> incidents.Report:
    severity = severity_of(
        alert.labels,
        label=route.severity_label,
        critical=route.critical_values,
        warning=route.warning_values,
        otherwise=route.default_severity,
    )
    return incidents.Report(
        key=incidents.key_of(f"route:{route.pk}", Incident.Kind.FIRING, alert.fingerprint),
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        columns={
            "route": route,
            "corp_id": route.receiver.corp_id,
            "sender": token,
            "title": alert.title,
            "summary": alert.summary,
            "severity": severity,
            "labels": dict(alert.labels),
            "link": alert.link,
        },
    )
