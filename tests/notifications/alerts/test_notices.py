"""Alerts on people's phones: once, in order, grouped when there are many, and quiet when an alert flaps."""

import json
import zoneinfo
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db import transaction

from accounts.models import WeComAccount
from integrations.models import Card, Corp, DataSource
from notifications.alerts import actions, incidents, notify
from notifications.alerts.actions import Action
from notifications.delivery.runs.owner_notices import NoticeSource, request_owner_notices
from notifications.models import (
    AlertRule,
    Channel,
    Delivery,
    InboundChannel,
    Incident,
    IncidentEvent,
    Robot,
    Run,
    SilenceWindow,
)
from tests.notifications.alerts.conftest import Duty, Row, alert
from tests.notifications.alerts.rules import STEP, check, make_rule, table
from tests.notifications.factories import NOW, make_corp, make_person

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
ROBOT_KEY = "robot-key-1"


def titles(duty: Duty, userid: str = "LiLei") -> list[str]:
    return [str(one.content["main_title"]["title"]) for one in duty.phone(userid)]  # type: ignore[index]  # each is a card


def tell_after(duty: Duty, minutes: int, *, begins: bool = False, **fields: Any) -> None:
    """Tell, after so many minutes, that the alert is over or, with `begins`, that it begins again."""
    duty.clock.advance(minutes=minutes)
    duty.tell(alert(**{"starts" if begins else "ends": duty.clock.now, **fields}))


def wait(duty: Duty, **units: float) -> None:
    duty.clock.advance(**units)
    duty.work_off()


def test_an_alert_is_a_card_with_buttons_for_everybody_on_duty_which_changes_when_its_end_is_told(duty: Duty) -> None:
    duty.tell(alert(instance="db-1"))

    card = duty.card("hanmeimei")
    assert (card["card_type"], card["source"]["desc_color"]) == ("button_interaction", 2)  # red
    assert card["main_title"] == {"title": "[严重] DiskFull 磁盘快满了", "desc": "剩余 3%"}
    assert [button["text"] for button in card["button_list"]] == ["认领", "静默 1 小时"]
    assert "还没有人认领" in card["sub_title_text"]
    assert [len(duty.phone(userid)) for userid in ("LiLei", "hanmeimei", "jim")] == [1, 1, 0]
    assert list(Run.objects.values_list("key", "trigger")) == [(f"incident:{Incident.objects.get().pk}:fire", "alert")]

    tell_after(duty, 5, instance="db-1")

    assert titles(duty) == ["[严重] DiskFull 磁盘快满了", "[已恢复] DiskFull 磁盘快满了"]
    assert [duty.card(position=position)["source"]["desc_color"] for position in (0, 1)] == [3, 3]  # green
    first = duty.card(position=0)
    assert (first["card_type"], first["main_title"]["title"]) == ("text_notice", "[已恢复] DiskFull 磁盘快满了")
    assert [kind for kind, _who in duty.timeline()] == ["opened", "notified", "resolved", "notified"]
    assert set(Run.objects.values_list("status", flat=True)) == {"finished"}


def test_a_recovery_waits_for_the_alert_before_it(duty: Duty) -> None:
    duty.engine.wecom_will("close_before", count=1)
    duty.tell(alert())
    assert duty.phone() == []
    duty.tell(alert(ends=NOW + MINUTE))
    assert Run.objects.count() == 1

    wait(duty, seconds=30)
    duty.work_off()
    assert len(duty.phone()) == 2


def test_without_callbacks_the_card_leads_to_the_page(duty: Duty) -> None:
    duty.corp.callback_verified_at = None
    duty.corp.save()

    duty.tell(alert())

    card = duty.card()
    assert (card["card_type"], card.get("button_list")) == ("text_notice", None)
    assert card["card_action"]["url"].startswith(f"http://localhost:3001/alerts/{Incident.objects.get().pk}/?m=")


def test_an_end_before_its_notice_tells_nobody(duty: Duty) -> None:
    duty.hand_in(alert())
    duty.hand_in(alert(ends=NOW))
    wait(duty, minutes=1)
    assert duty.phone() == []
    assert not Run.objects.exists()


@pytest.mark.parametrize(("is_over", "told"), [(False, ["[严重] DiskFull 磁盘快满了"]), (True, [])])
def test_what_fired_while_the_company_was_disabled_is_told_when_it_is_back_if_it_still_burns(
    is_over: bool, told: list[str], duty: Duty
) -> None:
    Corp.objects.update(is_enabled=False)
    duty.tell(alert())
    wait(duty, hours=30)
    assert not Run.objects.exists()
    if is_over:
        duty.tell(alert(ends=duty.clock.now))

    Corp.objects.update(is_enabled=True)
    wait(duty, minutes=5)
    assert titles(duty) == told


def test_while_one_company_of_two_is_disabled_those_of_the_other_are_told_an_end_only_where_wanted(duty: Duty) -> None:
    duty.channel.users.add(make_person(make_corp(is_enabled=False), "other"))
    InboundChannel.objects.update(notifies_recovery=False)
    duty.tell(alert())
    tell_after(duty, 5)
    assert titles(duty) == ["[严重] DiskFull 磁盘快满了"]
    assert duty.card(position=0)["main_title"]["title"] == "[已恢复] DiskFull 磁盘快满了"


def test_who_acknowledged_it_has_it_still_when_it_begins_again(duty: Duty) -> None:
    InboundChannel.objects.update(repeat_minutes=30)
    duty.tell(alert())
    duty.press("LiLei", "alert-take")
    tell_after(duty, 3)
    tell_after(duty, 2, begins=True)

    incident = Incident.objects.get()
    assert (incident.status, incident.acknowledged_by) == ("open", duty.people["LiLei"])


def test_what_follows_within_the_gathering_time_is_one_more_message(duty: Duty) -> None:
    for n in range(6):
        duty.tell(alert(instance=f"db-{n}"))
        duty.clock.advance(seconds=1)
    assert len(duty.phone()) == 1
    wait(duty, seconds=60)
    assert len(duty.phone()) == 2
    assert titles(duty)[1] == "[严重] 数据平台：5 条预警"


class TestFlapping:
    def test_its_end_is_told_once_it_is_quiet(self, duty: Duty) -> None:
        duty.tell(alert())
        tell_after(duty, 1)
        tell_after(duty, 1, begins=True)
        wait(duty, minutes=10)
        assert titles(duty)[-1].startswith("[仍未恢复]")
        tell_after(duty, 1, starts=NOW + 2 * MINUTE)
        told = len(duty.phone())
        wait(duty, minutes=9)
        assert len(duty.phone()) == told

        wait(duty, minutes=2)

        assert len(duty.phone()) == told + 1
        assert titles(duty)[-1].startswith("[已恢复]")

    def test_what_ends_twice_is_told_as_over_once(self, duty: Duty) -> None:
        """Ends, comes back, and ends again before anybody was notified of the return."""
        duty.tell(alert())
        tell_after(duty, 3)
        tell_after(duty, 2, begins=True)
        tell_after(duty, 2, starts=NOW + 5 * MINUTE)
        wait(duty, minutes=30)

        assert titles(duty) == ["[严重] DiskFull 磁盘快满了", "[已恢复] DiskFull 磁盘快满了"]
        assert Incident.objects.get().status == "resolved"

    def test_an_hour_of_silence_lasts_an_hour_also_for_what_ends_meanwhile(self, duty: Duty) -> None:
        duty.tell(alert())
        duty.press("LiLei", "alert-silence-1h")
        tell_after(duty, 5)
        told = len(duty.phone())
        tell_after(duty, 15, begins=True)

        newest = Incident.objects.latest("pk")
        assert (newest.status, newest.silenced_by) == ("open", duty.people["LiLei"])
        assert newest.silenced_until == NOW + timedelta(hours=1)
        assert len(duty.phone()) == told
        wait(duty, minutes=41)
        assert len(duty.phone()) == told + 1

        tell_after(duty, 0, starts=newest.starts_at)
        tell_after(duty, 15, begins=True)
        assert Incident.objects.latest("pk").silenced_until is None


class TestFacts:
    """Messages show what the source said last."""

    def said(self, words: str, **fields: Any) -> Row:
        notes = {"summary": words, "description": f"{words}。"}
        return {**alert(**fields), "annotations": notes, "generatorURL": "http://m/1"}

    def test_a_reminder_and_an_end_tell_how_things_are_and_a_new_beginning_how_it_began(self, duty: Duty) -> None:
        InboundChannel.objects.update(repeat_minutes=60)
        duty.tell(alert())
        duty.clock.advance(minutes=30)
        duty.tell(self.said("剩余 1%"))
        wait(duty, minutes=31)
        assert titles(duty)[-1] == "[仍未恢复][严重] 剩余 1%"
        assert duty.card()["main_title"]["desc"] == "剩余 1%。"
        assert Incident.objects.get().link == "http://m/1"
        duty.clock.advance(minutes=11)
        duty.tell(self.said("剩余 50%", ends=duty.clock.now))
        assert titles(duty)[-1] == "[已恢复] 剩余 50%"
        duty.clock.advance(minutes=2)
        duty.tell(self.said("又满了", starts=duty.clock.now))
        assert Incident.objects.get().title == "又满了"

    def test_news_of_an_earlier_stretch_are_none(self, duty: Duty) -> None:
        duty.tell(alert(starts=NOW))
        duty.tell(alert(starts=NOW - 5 * MINUTE, ends=NOW - 4 * MINUTE))
        duty.tell(self.said("旧", starts=NOW - 5 * MINUTE))

        assert Incident.objects.get().title == "DiskFull 磁盘快满了"


def test_reminders_come_until_somebody_acknowledges_it(duty: Duty) -> None:
    InboundChannel.objects.update(repeat_minutes=60)
    duty.tell(alert())
    for _ in range(2):
        wait(duty, minutes=61)
    pk = Incident.objects.get().pk
    keys = [f"incident:{pk}:{name}" for name in ("fire", "repeat-1", "repeat-2")]
    assert sorted(Run.objects.values_list("key", flat=True)) == keys
    assert titles(duty)[-1] == "[仍未恢复][严重] DiskFull 磁盘快满了"

    duty.clock.advance(minutes=30)
    duty.press("LiLei", "alert-silence-1h")
    wait(duty, minutes=45)
    assert len(duty.phone()) == 3
    wait(duty, minutes=50)
    assert len(duty.phone()) == 4

    duty.press("LiLei", "alert-take")
    wait(duty, hours=5)
    assert len(duty.phone()) == 4


def test_a_group_robot_gets_words_of_which_nothing_is_a_link_or_a_mention(duty: Duty) -> None:
    robot = Robot.objects.create(corp=duty.corp, name="值班群", key=ROBOT_KEY)
    hostile = "**[点此登录](https://evil.example.com)** <@all> <@hanmeimei>"

    source = DataSource.objects.create(name="仓库", kind="sql", sql_url="postgresql://u:p@db.example.com/a")
    card = Card.objects.create(source=source, name="销售额", sql="SELECT 1")
    watched = make_rule(card, corp=duty.corp, channel=Channel.ROBOT, robot=robot)
    words = {"title": f"磁盘满 {hostile}", "summary": hostile}
    draft = Incident(key="rule:1", starts_at=NOW, rule=watched, corp_id=duty.corp.pk, **words)
    with transaction.atomic():
        incidents.apply_reports([draft], source=watched, now=duty.clock.now)

    duty.work_off()

    message = json.loads(bytes(Delivery.objects.get().body))
    assert (message["msgtype"], set(message["text"])) == ("text", {"content"})
    assert message["text"]["content"].startswith("[警告] 磁盘满 **[点此登录]")
    assert "<" not in message["text"]["content"]


def test_who_cannot_be_told_stands_in_the_log_and_where_nobody_can_the_owner_of_the_channel_is_told(duty: Duty) -> None:
    duty.people["LiLei"].wecom_accounts.update(userid="", userid_folded="")
    duty.tell(alert())
    [run] = Run.objects.all()
    assert (run.recipient_count, run.skipped_count) == (1, 1)
    assert request_owner_notices(now=duty.clock.now) == []

    Incident.objects.all().delete()
    Run.objects.all().delete()
    WeComAccount.objects.update(userid="", userid_folded="")
    wait(duty, minutes=2)
    duty.tell(alert())

    [run] = Run.objects.filter(trigger="alert")
    assert run.error
    assert list(Incident.objects.get().events.filter(kind="notified").values_list("note", flat=True)) == [run.error]
    notice = Run.objects.get(trigger="notice")
    assert (notice.requested_by, list(notice.notified_runs.all())) == (duty.channel.owner, [run])
    assert "DiskFull 磁盘快满了" in NoticeSource(notice).build_contents(now=NOW).find_content(None).text
    assert request_owner_notices(now=duty.clock.now + timedelta(days=1)) == []


def test_a_silence_is_ended_before_its_time(duty: Duty) -> None:
    InboundChannel.objects.update(repeat_minutes=10)
    duty.tell(alert())
    duty.press("LiLei", "alert-silence-1h")
    pk = Incident.objects.get().pk

    done = actions.act_on_incidents(Action.END_SILENCE, [pk], person=duty.people["hanmeimei"], now=duty.clock.now)
    again = actions.act_on_incidents(Action.END_SILENCE, [pk], person=duty.people["hanmeimei"], now=duty.clock.now)

    incident = Incident.objects.get()
    assert (len(done.changed), len(again.unchanged), incident.silenced_until) == (1, 1, None)
    assert incident.notice_due_at == duty.clock.now + timedelta(minutes=10)
    assert duty.timeline()[-1] == ("unsilenced", "韩梅梅")


class TestTheListOfAStorm:
    def text(self, duty: Duty) -> str:
        return str(duty.card()["sub_title_text"])

    def test_names_what_tells_its_alerts_apart_and_how_many_more_there_are_first(self, duty: Duty) -> None:
        duty.tell(*(alert(instance=f"db-{number:02}") for number in range(12)), truncated=7)

        assert titles(duty) == ["[严重] 数据平台：12 条预警"]
        assert IncidentEvent.objects.filter(notice="fire").count() == 12
        lines = self.text(duty).split("\n")
        assert lines[1:5] == ["另有 2 条", "发送方另外省略了 7 条预警。", "DiskFull 磁盘快满了", "· db-00"]
        assert len(lines) == 4 + 10

    def test_adds_the_values_only_to_titles_that_are_equal_to_others(self, duty: Duty) -> None:
        duty.tell(alert("Disk", instance="a"), alert("Disk", instance="b"), alert("Cpu"))

        assert self.text(duty).split("\n")[1:] == ["· Disk 磁盘快满了 (a)", "· Disk 磁盘快满了 (b)", "· Cpu 磁盘快满了"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo("Asia/Shanghai"))


def night(rule: AlertRule, weekdays: str, to_time: time, from_time: time = time(22)) -> SilenceWindow:
    return SilenceWindow(rule=rule, name="夜间", weekdays=weekdays, from_time=from_time, to_time=to_time)


@pytest.mark.parametrize(
    ("fields", "now", "expected"),
    [
        ({}, "2026-11-28 03:00", "2026-11-28 03:00"),
        ({"notify_from": time(9), "notify_until": time(18)}, "2026-11-24 10:00", "2026-11-24 10:00"),
        ({"notify_from": time(9), "notify_until": time(18)}, "2026-11-24 03:00", "2026-11-24 09:00"),
        ({"notify_from": time(9), "notify_until": time(18)}, "2026-11-24 18:00", "2026-11-25 09:00"),
        ({"notify_from": time(22), "notify_until": time(6)}, "2026-11-24 03:00", "2026-11-24 03:00"),
        ({"notify_from": time(22), "notify_until": time(6)}, "2026-11-24 12:00", "2026-11-24 22:00"),
        ({"notifies_on_workdays_only": True}, "2026-11-28 12:00", "2026-11-30 00:00"),
        ({"notifies_on_workdays_only": True, "notify_from": time(9)}, "2026-10-03 12:00", "2026-10-08 09:00"),
    ],
)
def test_hours_say_when_people_may_be_told(rule: AlertRule, fields: dict[str, Any], now: str, expected: str) -> None:
    for name, value in fields.items():
        setattr(rule, name, value)

    assert notify.find_earliest_notice_time(rule, at(now)) == at(expected)


class TestSilenceWindows:
    """Silence windows. 2026-11-24 is a Tuesday."""

    @pytest.mark.parametrize(
        ("now", "expected"),
        [
            ("2026-11-24 21:59", "2026-11-24 21:59"),
            ("2026-11-24 22:00", "2026-11-25 06:00"),
            ("2026-11-25 05:59", "2026-11-25 06:00"),  # the night that began on its day
            ("2026-11-25 23:00", "2026-11-25 23:00"),  # Wednesday is none of its days
            ("2026-11-26 11:00", "2026-11-26 18:00"),  # once
            ("2026-11-26 18:00", "2026-11-26 18:00"),
        ],
    )
    def test_keep_people_untold_until_they_end(self, rule: AlertRule, now: str, expected: str) -> None:
        times = {"starts_at": at("2026-11-26 10:00"), "ends_at": at("2026-11-26 18:00")}
        windows = [night(rule, "1,2", time(6)), SilenceWindow(rule=rule, name="检修", kind="once", **times)]
        assert notify.find_earliest_notice_time(rule, at(now), windows) == at(expected)

    @pytest.mark.parametrize(
        ("now", "expected"),
        [
            ("2026-10-25T00:10", "2026-10-25T00:30"),  # 02:10 for the first time
            ("2026-10-25T00:40", "2026-10-25T00:40"),
            ("2026-10-25T01:10", "2026-10-25T01:30"),  # 02:10 for the second time
            ("2026-10-25T01:30", "2026-10-25T01:30"),
        ],
    )
    @pytest.mark.parametrize("is_window", [True, False])
    def test_end_in_an_hour_that_clocks_show_twice(
        self, rule: AlertRule, now: str, expected: str, *, is_window: bool
    ) -> None:
        """Clocks in Berlin went back from 03:00 to 02:00 on 2026-10-25."""
        rule.time_zone = "Europe/Berlin"
        windows = [night(rule, "6", time(2, 30))]
        if not is_window:
            rule.notify_from, rule.notify_until, windows = time(2, 30), time(22), []

        found = notify.find_earliest_notice_time(rule, datetime.fromisoformat(f"{now}+00:00"), windows)

        assert found == datetime.fromisoformat(f"{expected}+00:00")

    def test_and_hours_hold_together_and_those_that_never_end_come_to_an_answer(self, rule: AlertRule) -> None:
        always = night(rule, "1,2,3,4,5,6,7", time(0), from_time=time(0))
        assert notify.find_earliest_notice_time(rule, at("2026-11-24 03:00"), [always]) > at("2026-12-24 03:00")
        rule.notify_from, rule.notify_until = time(9), time(18)
        meeting = night(rule, "2", time(10), from_time=time(9))
        assert notify.find_earliest_notice_time(rule, at("2026-11-24 03:00"), [meeting]) == at("2026-11-24 10:00")

    @pytest.mark.parametrize("is_taken_away", [False, True])
    def test_that_end_or_are_taken_away_keep_nothing_back_any_longer(
        self, rule: AlertRule, *, is_taken_away: bool
    ) -> None:
        ends_at = NOW + timedelta(days=10)
        SilenceWindow.objects.create(rule=rule, name="停产", kind="once", starts_at=NOW - STEP, ends_at=ends_at)
        check(rule, NOW, table(上海=1))
        assert notify.request_notices(now=NOW) == []

        if is_taken_away:
            SilenceWindow.objects.all().delete()

        assert len(notify.request_notices(now=NOW + notify.RECHECK_AFTER)) == is_taken_away
        assert len(notify.request_notices(now=ends_at)) == (not is_taken_away)
