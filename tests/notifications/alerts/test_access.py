"""People who may act on an incident: those who are notified, and administrators of its company."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Attribute, User
from accounts.users.attributes import set_values
from integrations.models import Card, Corp
from notifications.alerts import actions, notices
from notifications.alerts.actions import Action
from notifications.models import AlertCard, AlertRule, Channel, InboundChannel, Incident, Robot
from notifications.views.inbox import ALERTS_AT_MOST
from tests.notifications.alerts.conftest import Duty, alert, hand_in
from tests.notifications.alerts.rules import make_rule
from tests.notifications.factories import NOW, make_corp, make_manager, make_person, make_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_duty(channel: InboundChannel) -> User:
    return channel.users.get()


@pytest.fixture
def incident(channel: InboundChannel) -> Incident:
    hand_in(channel, alert())
    return Incident.objects.get()


def test_who_is_told_may_not_of_a_groups_robot_nor_where_the_owner_may_not_send_or_reach(
    incident: Incident, channel: InboundChannel, corp: Corp, on_duty: User, card: Card
) -> None:
    stranger = make_person(make_corp(), "li")
    channel.users.add(stranger)
    assert [notices.may_act(Incident.objects.get(), person) for person in (on_duty, stranger)] == [True, False]
    User.objects.filter(pk=channel.owner_id).update(is_active=False)
    assert not notices.may_act(Incident.objects.get(), on_duty)

    robot = Robot.objects.create(corp=corp, name="群", key="k" * 36)
    rule = make_rule(card, [on_duty], corp=corp, channel=Channel.ROBOT, robot=robot)
    Incident.objects.update(channel=None, rule=rule)
    assert not notices.may_act(Incident.objects.get(), on_duty)


def test_administrators_of_the_company_may_if_they_may_change_incidents(incident: Incident, corp: Corp) -> None:
    assert notices.may_act(incident, make_manager(corp, permissions="change_incident"))
    assert notices.may_act(incident, make_superuser())
    assert not notices.may_act(incident, make_manager(corp, permissions="view_incident"))
    assert not notices.may_act(incident, make_manager(make_corp(), permissions="change_incident"))
    incident.corp = None  # an incident of every company, for people who see all
    assert not notices.may_act(incident, make_manager(corp, permissions="change_incident"))
    assert notices.may_act(incident, make_superuser())


def test_a_code_is_usable_for_72_hours() -> None:
    code = {"code": "c1", "received_at": NOW.isoformat(), "used_at": None}
    card = AlertCard(codes=[code])

    assert card.find_usable_codes(NOW + timedelta(hours=72, seconds=-1)) == [code]
    assert card.find_usable_codes(NOW + timedelta(hours=72)) == []


def test_a_late_click_brings_the_code_by_which_its_card_tells_the_end(duty: Duty) -> None:
    duty.tell(alert())
    actions.act_on_incidents(
        Action.ACKNOWLEDGE, [Incident.objects.get().pk], person=duty.people["LiLei"], now=duty.clock.now
    )
    duty.work_off()  # uses up the card's only code
    duty.clock.advance(minutes=1)
    duty.tell(alert(ends=duty.clock.now))
    assert "已认领" in duty.card("hanmeimei", position=0)["sub_title_text"]

    duty.press("LiLei", "alert-silence-1h", position=0)

    assert ("late", "李雷") in duty.timeline()
    assert Incident.objects.get().silenced_until is None
    assert duty.card("hanmeimei", position=0)["main_title"]["title"].startswith("[已恢复]")


@pytest.fixture
def people() -> list[User]:
    corp = make_corp()
    return [make_person(corp, userid) for userid in ("zhang", "li", "stranger")]


@pytest.fixture
def rule(people: list[User], card: Card) -> AlertRule:
    """A rule split by city: zhang is responsible for Shanghai and Beijing, li for no city."""
    city = Attribute.objects.create(name="城市", is_many_valued=True)
    set_values(attribute=city, values={people[0].pk: ["上海", "北京"], people[2].pk: ["上海"]})
    return make_rule(card, people[:2], split_column="城市", split_attribute=city)


def open_parts(rule: AlertRule, *parts: str) -> None:
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    Incident.objects.bulk_create(
        Incident(key=f"rule:{rule.pk}:firing:{part}", rule=rule, part=part, title=part, **times) for part in parts
    )


def list_alerts(person: User) -> tuple[list[str], int | None]:
    """Return the parts of the open alerts on the person's page, and how many are listed if there are more."""
    client = Client()
    client.force_login(person)
    context = client.get("/alerts/").context
    return [one["incident"].part for one in context["open_ones"]], context["listed_at_most"]


def test_of_a_rule_that_is_split_each_sees_the_parts_of_their_own_in_as_many_questions_for_many(
    rule: AlertRule, people: list[User]
) -> None:
    open_parts(rule, "上海", "广州", "北京")
    assert [list_alerts(person)[0] for person in people] == [["北京", "上海"], [], []]
    Incident.objects.all().delete()

    counts = []
    for number in range(2):
        open_parts(rule, *(f"城市 {number}-{part}" for part in range(1 + 299 * number)))
        with CaptureQueriesContext(connection) as asked:
            assert list_alerts(people[0]) == ([], None)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_more_than_are_listed_are_told_of(rule: AlertRule, people: list[User]) -> None:
    AlertRule.objects.update(split_attribute=None)
    open_parts(rule, *map(str, range(ALERTS_AT_MOST)))
    assert list_alerts(people[1])[1] is None
    open_parts(rule, "one more")
    listed, listed_at_most = list_alerts(people[1])
    assert (len(listed), listed[0], listed_at_most) == (ALERTS_AT_MOST, "one more", ALERTS_AT_MOST)
