"""The list of alerts: what concerns a person, of however many parts, in the same number of questions."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Attribute, User
from accounts.users.attributes import set_values
from integrations.models import Card, DataSource
from notifications.alerts import selectors
from notifications.models import AlertRule, Incident
from tests.notifications.alerts.conftest import make_receiver
from tests.notifications.alerts.test_rules import make_rule
from tests.notifications.factories import NOW, make_corp, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> list[User]:
    corp = make_corp()
    return [make_person(corp, userid) for userid in ("zhang", "li", "stranger")]


@pytest.fixture
def rule(people: list[User]) -> AlertRule:
    """Split by city: zhang answers for Shanghai and Beijing, li for no city."""
    city = Attribute.objects.create(name="城市", is_many_valued=True)
    set_values(attribute=city, values={people[0].pk: ["上海", "北京"], people[2].pk: ["上海"]})
    card = Card.objects.create(name="销售", source=DataSource.objects.create(name="数仓", kind="sql"), sql="SELECT 1")
    return make_rule(card, make_receiver(*people[:2]), split_column="城市", split_attribute=city)


def open_parts(rule: AlertRule, *parts: str) -> None:
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    Incident.objects.bulk_create(
        Incident(key=f"rule:{rule.pk}:firing:{part}", rule=rule, part=part, title=part, **times) for part in parts
    )


def listed(person: User) -> list[str]:
    return [one.incident.part for one in selectors.incidents_of(person, now=NOW).incidents]


def test_of_a_rule_that_is_split_each_sees_the_parts_of_their_own(rule: AlertRule, people: list[User]) -> None:
    open_parts(rule, "上海", "广州", "北京")

    assert [listed(person) for person in people] == [["北京", "上海"], [], []]


def test_many_parts_cost_no_more_questions_than_few(rule: AlertRule, people: list[User]) -> None:
    counts = []
    for number in range(2):
        open_parts(rule, *(f"城市 {number}-{part}" for part in range(1 + 299 * number)))
        with CaptureQueriesContext(connection) as asked:
            assert listed(people[0]) == []
        counts.append(len(asked))

    assert counts[0] == counts[1]


def test_more_than_are_listed_are_told_of(rule: AlertRule, people: list[User]) -> None:
    rule.split_attribute = None
    rule.save()
    open_parts(rule, *map(str, range(selectors.LISTED_AT_MOST)))
    assert not selectors.incidents_of(people[1], now=NOW).is_cut

    open_parts(rule, "one more")

    listing = selectors.incidents_of(people[1], now=NOW)
    assert listing.is_cut
    assert [one.incident.part for one in listing.incidents][0] == "one more"
    assert len(listing.incidents) == selectors.LISTED_AT_MOST
