"""The schedule part of the form: presets, working days, spread, and the notes before and after saving."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models import Card, DataSource
from notifications.admin import operations
from notifications.models import Repeat, Report, Subscription, WorkdayCalendar
from notifications.subscriptions.calendar import describe_crontab, describe_schedule
from notifications.subscriptions.schedules import find_last_known_year, find_nearest_workday, is_published_workday
from tests.browser_form import read_unchanged_form, skip_drawing
from tests.integrations.pages import version_on
from tests.notifications.admin.test_admin import errors_of, preview, said, values
from tests.notifications.alerts.rules import make_rule
from tests.notifications.factories import make_corp, make_person, make_report, make_subscription

pytestmark = pytest.mark.django_db
ADD = "/admin/notifications/subscription/add/"


@pytest.fixture
def order() -> tuple[Report, User]:
    return make_report(), make_person(make_corp(), "lilei")


@pytest.fixture
def _in_november(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A day shortly before the end of the known calendar, whichever years the library knows."""
    now = datetime(find_last_known_year(), 12, 28, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    monkeypatch.setattr(operations, "database_now", lambda: now)
    return iter(())


DAILY: dict[str, Any] = {"repeat": "daily", "local_time": "09:05", "crontab": ""}
WEEKLY: dict[str, Any] = {"repeat": "weekly", "local_time": "09:05", "weekdays": ["3", "1"], "crontab": ""}
MONTHLY: dict[str, Any] = {"repeat": "monthly", "local_time": "09:05", "month_day": "first_workday", "crontab": ""}


def saved(client: Client, order: tuple[Report, User], **changes: Any) -> Subscription:
    answer = client.post(ADD, values(*order, **changes))
    assert answer.status_code == 302, errors_of(answer)
    return Subscription.objects.get()


def test_a_push_of_working_days_shows_so_and_becomes_one_of_every_day(
    admin_client: Client, order: tuple[Report, User]
) -> None:
    push = saved(admin_client, order, **DAILY, free_days="skip")
    page = f"/admin/notifications/subscription/{push.pk}/change/"
    assert '<option value="workdays" selected>每个工作日</option>' in admin_client.get(page).text

    changes = {**DAILY, "free_days": "skip", "page_version": version_on(admin_client, page)}
    answer = admin_client.post(page, values(*order, **changes))

    assert answer.status_code == 302, errors_of(answer)
    push.refresh_from_db()
    assert push.free_days == "send"


@pytest.mark.parametrize(
    ("fields", "expected", "words"),
    [
        (DAILY, (Repeat.DAILY, "", "", "send"), "每天 09:05"),
        ({**DAILY, "free_days": "skip"}, (Repeat.DAILY, "", "", "skip"), "每个工作日 09:05"),
        ({**DAILY, "repeat": "workdays"}, (Repeat.DAILY, "", "", "skip"), "每个工作日 09:05"),
        (WEEKLY, (Repeat.WEEKLY, "1,3", "", "send"), "每周一、周三 09:05"),
        (
            {**WEEKLY, "free_days": "next"},
            (Repeat.WEEKLY, "1,3", "", "next"),
            "每周一、周三 09:05，遇休息日顺延到下一个工作日",
        ),
        (MONTHLY, (Repeat.MONTHLY, "", "first_workday", "send"), "每月第一个工作日 09:05"),
        ({**MONTHLY, "month_day": "15"}, (Repeat.MONTHLY, "", "15", "send"), "每月 15 日 09:05"),
        (
            {**MONTHLY, "month_day": "31"},
            (Repeat.MONTHLY, "", "31", "send"),
            "每月 31 日 09:05（当月没有这一天时改在最后一天）",
        ),
        ({**MONTHLY, "month_day": "last"}, (Repeat.MONTHLY, "", "last", "send"), "每月最后一天 09:05"),
        # A Chinese colon is accepted.
        ({**DAILY, "local_time": "9：05"}, (Repeat.DAILY, "", "", "send"), "每天 09:05"),
    ],
)
def test_a_preset_is_saved_and_described(
    root: Client, order: tuple[Report, User], fields: dict[str, Any], expected: tuple[str, ...], words: str
) -> None:
    subscription = saved(root, order, **fields)

    found = (subscription.repeat, subscription.weekdays, subscription.month_day, subscription.free_days)
    assert found == expected
    assert (subscription.local_time, subscription.crontab) == (time(9, 5), "")
    assert subscription.next_run_at is not None
    assert f"{subscription.next_run_at:%H:%M:%S}" == "01:05:00"
    assert describe_schedule(subscription) == words


def test_what_another_way_of_writing_needed_is_emptied(root: Client, order: tuple[Report, User]) -> None:
    subscription = saved(root, order, crontab="5 9 * * 1-5")
    url = reverse("admin:notifications_subscription_change", args=[subscription.pk])

    answer = root.post(
        url,
        values(*order, **{**WEEKLY, "crontab": "5 9 * * 1-5", "month_day": "3"}, page_version=version_on(root, url)),
    )

    assert answer.status_code == 302
    subscription.refresh_from_db()
    found = (subscription.repeat, subscription.weekdays, subscription.crontab, subscription.month_day)
    assert found == (Repeat.WEEKLY, "1,3", "", "")
    # Saving unchanged days of the week changes nothing.
    Subscription.objects.update(next_run_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert root.post(url, values(*order, **WEEKLY, page_version=version_on(root, url))).status_code == 302
    subscription.refresh_from_db()
    assert subscription.next_run_at == datetime(2026, 1, 1, tzinfo=UTC)
    html = root.get(url).content.decode()
    assert len(re.findall(r'name="weekdays" value="[13]"[^>]* checked', html)) == 2


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({**DAILY, "local_time": ""}, "请选择发送时间"),
        ({**DAILY, "local_time": "25:00"}, "请按 24 小时制填写时间，例如 09:00 或 18:30。"),
        ({**WEEKLY, "weekdays": []}, "请至少选择一周中的一天"),
        ({**WEEKLY, "weekdays": ["8"]}, "8"),
        ({**MONTHLY, "month_day": ""}, "请选择每月的哪一天"),
        ({**MONTHLY, "month_day": "32"}, "32"),
        ({"repeat": "crontab", "crontab": ""}, "五个字段"),
        ({"repeat": "crontab", "crontab": "5 9 * * *", "free_days": "next"}, "不能顺延"),
        ({"repeat": "hourly"}, "hourly"),
        ({**DAILY, "free_days": "never"}, "never"),
        ({**DAILY, "jitter_seconds": "3600"}, "3599"),
        ({**DAILY, "jitter_seconds": ""}, "必填"),
        ({"crontab": "0 9 30 2 *"}, "永远不会触发"),
        ({"time_zone": "Mars/Base"}, "Mars/Base"),
        ({"valid_from_0": "2026-12-02", "valid_to_0": "2026-12-01"}, "晚于"),
        ({"grace_minutes": 2000}, "1440"),
        ({"lifetime_hours": 0}, "1"),
    ],
)
def test_what_is_missing_or_cannot_be_is_refused(
    root: Client, order: tuple[Report, User], fields: dict[str, Any], sentence: str
) -> None:
    midnight: dict[str, Any] = {f"{name}_1": "00:00" for name in ("valid_from", "valid_to") if f"{name}_0" in fields}

    answer = root.post(ADD, values(*order, **{**fields, **midnight}))

    assert answer.status_code == 200
    assert sentence in errors_of(answer)
    assert not Subscription.objects.exists()


def read_attentions(client: Client) -> str:
    with skip_drawing():
        return " ".join(one.sentence for one in client.get("/admin/").context["overview"]["attentions"])


@pytest.mark.usefixtures("_in_november")
@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({**DAILY, "free_days": "skip"}, True),
        ({**WEEKLY, "free_days": "next"}, True),
        (MONTHLY, True),
        ({**MONTHLY, "month_day": "last_workday"}, True),
        (DAILY, False),
        ({**MONTHLY, "month_day": "last"}, False),
    ],
)
def test_the_end_of_the_calendar_is_told_before_and_after_saving(
    root: Client, order: tuple[Report, User], fields: dict[str, Any], is_told: bool
) -> None:
    year = str(find_last_known_year() + 1)

    before = preview(root, values(*order, **fields))
    answer = root.post(ADD, values(*order, **fields))
    after = said(answer)
    index = read_attentions(root)

    for text in (before, after, index):
        assert (f"{year} 年的节假日和调休" in text) is is_told


def times(html: str) -> list[str]:
    found = re.search(r"<ol class=\"next-times\">(.*?)</ol>", html, re.DOTALL)
    return re.findall(r"<li>(.*?)</li>", found[1]) if found else []


def test_before_saving_a_spread_is_shown_as_a_span_and_after_as_the_moment(
    root: Client, order: tuple[Report, User]
) -> None:
    spread: dict[str, Any] = {**DAILY, "jitter_seconds": "300"}
    abroad = preview(root, values(*order, **WEEKLY, time_zone="America/New_York"))
    assert len(times(abroad)) == 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d 09:05 周[一三]", line) for line in times(abroad))
    assert "纽约时间" in abroad
    before = times(preview(root, values(*order, **spread)))
    subscription = saved(root, order, **spread)
    page = root.get(reverse("admin:notifications_subscription_change", args=[subscription.pk])).content.decode()

    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d 09:05:00–09:10:00 周.", line) for line in before)
    after = times(page)
    assert len(before) == len(after) == 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d 09:(0[5-9]|10):\d\d 周.", line) for line in after)
    assert len({line[11:19] for line in after}) > 1
    assert subscription.next_run_at is not None
    local = subscription.next_run_at.astimezone(tz=None)
    assert f"{local:%M:%S}" == after[0][14:19]
    assert after == times(preview(root, {**values(*order, **spread), "_id": subscription.pk}))


@pytest.mark.parametrize(("at", "jitter", "is_hinted"), [("09:30", 0, True), ("09:00", 120, False)])
def test_full_and_half_hours_are_advised_against(
    root: Client, order: tuple[Report, User], at: str, jitter: int, is_hinted: bool
) -> None:
    html = preview(root, values(*order, **{**DAILY, "local_time": at, "jitter_seconds": jitter}))

    assert ("整点和半点" in html) is is_hinted


@pytest.mark.parametrize("model", ["subscription", "alertrule"])
def test_a_new_schedule_begins_in_the_site_s_zone_and_a_known_one_keeps_its_own(
    root: Client, settings: Any, model: str
) -> None:
    settings.TIME_ZONE = "Australia/Perth"

    page = root.get(f"/admin/notifications/{model}/add/")

    field = page.context["adminform"].form["time_zone"]
    offered = dict(field.field.choices)
    assert (field.value(), next(iter(offered))) == ("Australia/Perth", "Australia/Perth")
    assert len(offered) == len(field.field.choices) > 400
    assert (str(offered["Asia/Shanghai"]), str(offered["UTC"])) == ("北京时间", "协调世界时（UTC）")
    assert offered["Asia/Seoul"] == "Asia/Seoul"
    # Times do not depend on the browser's language.
    assert 'placeholder="09:00"' in page.text
    assert not any(kind in page.text for kind in ('type="time"', "datetime-local"))
    if model == "subscription":
        assert '<option value="daily" selected>' in page.text
        assert 'value="09:00"' in page.text
        known = make_subscription(time_zone="Asia/Tokyo")
        again = root.get(f"/admin/notifications/subscription/{known.pk}/change/")
        assert again.context["adminform"].form["time_zone"].value() == "Asia/Tokyo"


@pytest.mark.parametrize("model", ["subscription", "alertrule"])
def test_the_five_fields_are_a_cron_expression(root: Client, model: str) -> None:
    page = root.get(f"/admin/notifications/{model}/add/", headers={"accept-language": "en"}).text

    assert ">Cron expression<" in page
    assert not re.search(r">[^<]*crontab[^<]*<", page, re.IGNORECASE)


@pytest.mark.parametrize(
    ("crontab", "words"),
    [
        ("0 9 * * *", "每天 09:00"),
        ("30 8 * * 1,3", "每周一、周三 08:30"),
        ("0 9 * * 0,6", "每周六、周日 09:00"),
        ("0 9 * * 6-7", "每周六、周日 09:00"),
        ("5 7 15 * *", "每月 15 日 07:05"),
        ("0 9 29 * *", "每月 29 日 09:00（平年 2 月没有 29 日，不发送）"),
        ("0 9 30 * *", "每月 30 日 09:00（2 月没有 30 日，不发送）"),
        ("0 9 31 * *", "每月 31 日 09:00（2、4、6、9、11 月没有 31 日，不发送）"),
        ("* * * * *", "每 1 分钟"),
        ("*/5 * * * *", "每 5 分钟"),
        ("0 * * * *", "每 1 小时"),
        ("10 */2 * * *", "每 2 小时"),
        ("0 9-18 * * *", "按自定义时间"),
        ("0 9 1 1 *", "按自定义时间"),
        ("0 9 * * mon", "按自定义时间"),
        ("", "按自定义时间"),
    ],
)
def test_a_crontab_reads_as_words(crontab: str, words: str) -> None:
    assert describe_crontab(crontab) == words


# --- Days that are entered by hand ------------------------------------------------------------------------------------

CALENDAR = "/admin/notifications/workdaycalendar/1/change/"


def entered(client: Client, days: str) -> Any:
    client.get("/admin/notifications/workdaycalendar/")
    return client.post(CALENDAR, {**read_unchanged_form(client, CALENDAR), "days": days})


@pytest.mark.usefixtures("undrawn")
@pytest.mark.usefixtures("_in_november")
def test_days_that_are_entered_move_the_next_times_and_end_the_warning(
    root: Client, order: tuple[Report, User]
) -> None:
    year = find_last_known_year() + 1
    first = find_nearest_workday(date(year, 1, 2), is_published_workday)
    push = saved(root, order, **MONTHLY)
    due_at = datetime(year - 1, 12, 28, tzinfo=UTC)
    # Free days only are refused, where no make-up day is known.
    refused = root.post(ADD, values(*order, **{**WEEKLY, "weekdays": ["7"], "free_days": "skip"}))
    assert "都不是工作日" in errors_of(refused)
    due = make_subscription(free_days="skip", crontab="5 9 * * *", next_run_at=due_at)
    card = Card.objects.create(name="门店", source=DataSource.objects.create(name="仓库", kind="sql"), sql="SELECT 1")
    rule = make_rule(card, crontab="5 9 * * *", free_days="skip", next_run_at=push.next_run_at)
    assert push.next_run_at == datetime.combine(first, time(1, 5), UTC)
    assert f"{year} 年的节假日" in read_attentions(root)

    answer = entered(root, f"{year}-01-02 至 {first} 休 元旦\n{first + timedelta(days=1)}\t班\t元旦")

    assert answer.status_code == 302
    for row in (push, due, rule):
        row.refresh_from_db()
    assert push.next_run_at == datetime.combine(first + timedelta(days=1), time(1, 5), UTC)
    assert due.next_run_at == due_at
    assert rule.next_run_at == datetime(year - 1, 12, 28, 1, 5, tzinfo=UTC)
    assert f"{year} 年的节假日" not in read_attentions(root)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("line", ["2027-02-30 休", "2027-02-05", "休 2027-02-05", "2027-02-11 至 2027-02-05 休", "x"])
def test_a_line_that_is_no_day_is_named_and_nothing_is_saved(root: Client, line: str) -> None:
    answer = entered(root, f"2027-02-14 班\n{line}")

    assert errors_of(answer) == f"第 2 行无法识别：「{line}」。"
    assert WorkdayCalendar.objects.read_entered_days() == {}


class TestOnce:
    """An announcement: one day and one time."""

    def test_it_is_saved_with_its_one_time_and_told_in_words(self, root: Client, order: tuple[Report, User]) -> None:
        day = timezone.localdate() + timedelta(days=3)

        push = saved(
            root, order, repeat="once", on_date=day.isoformat(), local_time="09:05", crontab="", is_enabled="on"
        )

        assert (push.repeat, push.on_date, push.local_time) == (Repeat.ONCE, day, time(9, 5))
        assert describe_schedule(push) == f"仅一次：{day} 09:05"
        assert push.next_run_at is not None
        assert timezone.localtime(push.next_run_at).date() == day

    def test_a_time_that_is_over_is_refused_unless_nothing_of_it_changes(
        self, root: Client, order: tuple[Report, User]
    ) -> None:
        gone = {**DAILY, "repeat": "once", "on_date": "2020-01-02", "is_enabled": "on"}
        assert "这个时间已过" in errors_of(root.post(ADD, values(*order, **gone)))
        assert "请选择日期" in errors_of(root.post(ADD, values(*order, **{**gone, "on_date": ""})))
        push = make_subscription(
            order[1], report=order[0], crontab="", repeat=Repeat.ONCE, on_date=date(2020, 1, 2), local_time=time(9, 5)
        )
        page = f"/admin/notifications/subscription/{push.pk}/change/"

        answer = root.post(page, {**read_unchanged_form(root, page), "name": "公告"})

        assert answer.status_code == 302, errors_of(answer)
        push.refresh_from_db()
        assert (push.name, push.is_enabled, push.next_run_at) == ("公告", True, None)
        assert ">完成<" in root.get("/admin/notifications/subscription/").content.decode()

    @pytest.mark.usefixtures("undrawn")
    def test_another_schedule_forgets_the_day_and_rules_do_not_offer_it(
        self, root: Client, order: tuple[Report, User]
    ) -> None:
        push = saved(root, order, repeat="daily", on_date="2030-01-02", local_time="09:05", crontab="")
        assert push.on_date is None
        rule = root.get(reverse("admin:notifications_alertrule_add")).context["adminform"].form
        assert Repeat.ONCE not in dict(rule.fields["repeat"].choices)
        assert "on_date" not in rule.fields
