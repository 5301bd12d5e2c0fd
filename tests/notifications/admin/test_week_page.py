"""The week page: enabled pushes by day and hour, with numbers of people, limits, and advice to spread."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from notifications.models import Robot
from notifications.subscriptions.calendar import plan_week
from tests.notifications.factories import (
    make_corp,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
PAGE = "/admin/notifications/subscription/week/"


@pytest.fixture
def root() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(make_superuser())
    return client


def once(clock: str) -> str:
    """Return a crontab for this time of the day after tomorrow."""
    day = timezone.localdate() + timedelta(days=2)
    hour, minute = clock.split(":")
    return f"{int(minute)} {int(hour)} {day.day} {day.month} *"


def hours(client: Client, query: str = "") -> dict[tuple[int, int], tuple[int, list[str]]]:
    """Return people and push names by day and hour. Day 1 is tomorrow; today depends on the time of the test."""
    found = client.get(PAGE + query).context["week"]
    return {
        (found.days.index(day), hour): (one.people_count, [str(planned.subscription) for planned, _times in one.pushes])
        for (day, hour), one in found.hours.items()
        if day != found.days[0]
    }


def notes(client: Client) -> list[str]:
    return list(client.get(PAGE).context["notes"])


def test_each_hour_has_its_pushes_and_the_people_who_would_get_them_now(root: Client) -> None:
    corp = make_corp()
    first, second = make_person(corp, "first"), make_person(corp, "second")
    daily = make_subscription(first, second, make_person(), name="daily", crontab="10 9 * * *")
    make_run(daily, status="finished", recipient_count=120)
    make_subscription(first, name="new", crontab=once("9:20"), is_paused=True)
    make_subscription(first, name="off", is_enabled=False)

    found = hours(root)

    assert found == {**{(day, 9): (2, ["daily"]) for day in range(1, 7)}, (2, 9): (2, ["daily", "new"])}
    assert hours(root, "?week=1") == {(day, 9): (2, ["daily"]) for day in range(1, 7)}
    assert hours(root, "?week=x") == found
    page = root.get(PAGE).content.decode()
    assert f'<a href="/admin/notifications/subscription/{daily.pk}/change/">daily</a> (2 people)' in page
    assert "<summary><span>2 people</span> · <span>3 messages</span></summary>" in page
    assert "<summary><span>2 people</span></summary>" in page
    tabs: list[Any] = list(root.get(PAGE).context["tabs"])
    assert [(tab.url, tab.is_current) for tab in tabs] == [(PAGE.removesuffix("week/"), False), (PAGE, True)]


def test_of_today_only_what_is_to_come_is_shown() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    push = make_subscription(name="often", crontab="0 9,15 * * *", time_zone="Asia/Shanghai")
    now = datetime(2026, 12, 1, 14, 17, tzinfo=zone)

    found = plan_week([push], {}, start=now.date(), now=now, zone=zone)

    assert sorted(found.hours)[:3] == [(now.date(), 15), *((date(2026, 12, 2), hour) for hour in (9, 15))]


def test_a_company_of_three_never_counts_more_than_three_people(root: Client) -> None:
    corp = make_corp()
    for number in range(3):
        make_person(corp, f"p{number}")
    make_subscription(name="often", to_everyone=True, crontab=once("9:0").replace("0", "*/5", 1))
    make_subscription(name="more", to_everyone=True, crontab=once("9:20"))

    found = root.get(PAGE).context["week"]
    assert [times for one in found.hours.values() for _planned, times in one.pushes] == [12, 1]
    assert hours(root) == {(2, 9): (3, ["often", "more"])}
    assert "<summary><span>3 people</span> · <span>39 messages</span></summary>" in root.get(PAGE).content.decode()


def test_a_robots_group_is_one_message_to_nobody_in_particular(root: Client) -> None:
    corp = make_corp()
    robot = Robot.objects.create(name="群", corp=corp, key="k" * 36)
    make_subscription(channel="robot", robot=robot, report=make_report(corp=corp), name="group", crontab=once("9:10"))

    assert hours(root) == {(2, 9): (0, ["group"])}
    assert "<summary><span>0 people</span> · <span>1 message</span></summary>" in root.get(PAGE).content.decode()


def test_the_hour_and_half_hour_are_to_be_avoided_unless_spread(root: Client) -> None:
    make_subscription(name="a", crontab=once("09:00"))
    make_subscription(name="b", crontab=once("09:30"))
    make_subscription(name="c", crontab=once("09:00"), jitter_seconds=120)
    make_subscription(name="d", crontab=once("09:10"))

    answer = root.get(PAGE)
    assert [str(one) for one in answer.context["on_the_hour"]] == ["a", "b"]
    assert "WeCom asks not to send exactly on the hour" in answer.content.decode()


def test_more_than_wecom_takes_in_a_minute_is_said(root: Client, settings: Settings) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_ADDRESS_PER_MINUTE = 0, 4
    settings.LIMIT_MEMBER_PER_MINUTE = 1
    corp = make_corp()
    people = [make_person(corp, f"p{number}") for number in range(5)]
    for name in ("a", "b"):
        make_subscription(*people, name=name, crontab=once("09:10"))

    assert notes(root) == [
        "09:10: 10 messages, and WeCom takes 4 calls a minute. If everybody gets a message of their own, "
        "this takes 3 minutes: move some pushes to another time.",
        "09:10: 2 pushes, and a person gets at most 1 messages a minute. People who get all of them wait for the "
        "rest: move some pushes to another time.",
    ]


def test_more_times_than_a_page_holds_are_cut_and_an_unusable_schedule_is_named(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.subscriptions.calendar.TIMES_AT_MOST", 5)
    make_subscription(name="minutely", crontab="* * * * *")
    make_subscription(name="broken", crontab="0 9 30 2 *", next_run_at=None)

    answer = root.get(PAGE)

    assert [str(one) for one in answer.context["week"].unreadable] == ["broken"]
    assert "some pushes are not shown" in answer.content.decode()
