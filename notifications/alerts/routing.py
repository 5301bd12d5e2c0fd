"""Which routes take an alert: by the labels that they match, and by who hands it in.

No regular expressions behind =~: patterns and values come from different people, and one bad pair of them would
hold up a whole worker. A pattern with * and ?, and | between alternatives, says what alerts need (docs/decisions).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from django.db.models import Q

from notifications.models import AlertRoute, AlertRule, ApiToken
from notifications.models.alert_rules import AlertRuleQuerySet
from notifications.models.alerts import AlertRouteQuerySet

MATCHERS_AT_MOST = 20
NAME_CHARACTERS = 128
VALUE_CHARACTERS = 256


class Comparison(StrEnum):
    """As Alertmanager writes them."""

    EQUAL = "="
    UNEQUAL = "!="
    LIKE = "=~"
    UNLIKE = "!~"


class MatcherError(ValueError):
    """A line that is no matcher. `line` counts from 1; `reason`: a code for whoever words it."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label. A label that is missing counts as empty, as at Alertmanager."""

    name: str
    comparison: Comparison
    value: str

    def takes(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.name, "")
        match self.comparison:
            case Comparison.EQUAL:
                return found == self.value
            case Comparison.UNEQUAL:
                return found != self.value
            case Comparison.LIKE:
                return is_like(found, self.value)
            case Comparison.UNLIKE:
                return not is_like(found, self.value)

    def __str__(self) -> str:
        return f"{self.name}{self.comparison.value}{self.value}"


_LINE = re.compile(r"\s*(?P<name>[^\s=!~\"']+)\s*(?P<comparison>=~|!~|!=|=)\s*(?P<value>.*?)\s*")
# Signs of a regular expression: what is meant would not be what is done.
_EXPRESSION = re.compile(r"\.\*|\.\+|[\[\](){}^$\\]")


def is_like(value: str, pattern: str) -> bool:
    """Whether the whole value fits one of the alternatives. In linear time: fnmatch never goes back."""
    return any(fnmatchcase(value, alternative.replace("[", "[[]")) for alternative in pattern.split("|"))


def parse(text: str) -> list[Matcher]:
    """A matcher a line, as `severity="critical"`; quotation marks may be left out. Raises MatcherError."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if len(lines) > MATCHERS_AT_MOST:
        raise MatcherError(lines[MATCHERS_AT_MOST][0], "too_many")
    return [_parsed(number, line) for number, line in lines]


def _parsed(number: int, line: str) -> Matcher:
    found = _LINE.fullmatch(line)
    if found is None:
        raise MatcherError(number, "malformed")
    name, comparison, value = found["name"], Comparison(found["comparison"]), found["value"]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if len(name) > NAME_CHARACTERS or len(value) > VALUE_CHARACTERS:
        raise MatcherError(number, "too_long")
    if comparison in {Comparison.LIKE, Comparison.UNLIKE} and _EXPRESSION.search(value):
        raise MatcherError(number, "expression")
    return Matcher(name, comparison, value)


def to_rows(matchers: Iterable[Matcher]) -> list[list[str]]:
    """As AlertRoute.matchers keeps them."""
    return [[one.name, one.comparison.value, one.value] for one in matchers]


def from_rows(rows: Iterable[Any]) -> list[Matcher]:
    """Of rows that `to_rows` has made. Raises ValueError for others."""
    return [Matcher(name, Comparison(comparison), value) for name, comparison, value in rows]


def takes_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher takes the labels; none at all takes everything."""
    return all(one.takes(labels) for one in matchers)


# --- Which routes and rules a token reaches, and which routes take an alert ---


def routes_of(token: ApiToken) -> AlertRouteQuerySet:
    """The enabled routes that take what this token hands in."""
    return within_reach(token).filter(is_enabled=True)


def within_reach(token: ApiToken) -> AlertRouteQuerySet:
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
        if takes_all(from_rows(route.matchers), labels):
            found.append(route)
            if not route.goes_on:
                break
    return found
