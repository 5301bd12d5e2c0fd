"""The admin's index: cards, what needs attention, and the chart of the last 14 days."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from integrations.models import Card, CheckRun, Corp, DataSource, SiteAddress
from notifications.admin import dashboard
from notifications.delivery.runs.statistics import DayCounts, OutcomeCounts, count_last_days
from notifications.models import Delivery, FreeDays, Incident, Run
from notifications.subscriptions.schedules import find_last_known_year
from notifications.views import overview
from tests.browser_form import skip_drawing
from tests.notifications.alerts.rules import make_rule
from tests.notifications.factories import (
    make_corp,
    make_manager,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
SHANGHAI = timezone.get_default_timezone()


@pytest.fixture(autouse=True)
def _address() -> None:
    SiteAddress.objects.filter(is_default=True).update(url="http://testserver/")


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


def client_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def read_index(client: Client, **options: Any) -> dict[str, Any]:
    with skip_drawing():
        answer: Any = client.get("/admin/", **options)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.context["overview"]
    return found


def make_deliveries(corp: Corp, number: int = 1, **fields: Any) -> None:
    now = timezone.now()
    run = make_run(make_subscription(report=make_report(), is_enabled=False), now)
    values = {
        "run": run, "corp": corp, "channel": "wecom", "message_form": "text", "created_at": now, "title": "日报",
        "text": "x", "corpid": corp.corpid, "agentid": corp.agentid, "body": b"{}", "language": "zh-hans",
        "recipient_count": 1, "status": "accepted", "next_attempt_at": now, "expires_at": now + timedelta(days=1),
    }  # fmt: skip
    Delivery.objects.bulk_create(Delivery(**{**values, **fields}) for _number in range(number))


def read_lines(found: dict[str, Any], name: str) -> dict[str, tuple[str, str]]:
    [lines] = [lines for corp, lines in found["cards"] if corp.name == name]
    return {line.label: (line.value, line.tone) for line in lines}


def test_people_are_counted_by_day_in_the_zone_of_the_page() -> None:
    corp = make_corp()
    day = datetime(2026, 11, 24, tzinfo=UTC).date()
    # 16:00 in UTC is midnight in Shanghai.
    make_deliveries(corp, created_at=datetime(2026, 11, 23, 15, 59, 59, tzinfo=UTC), recipient_count=7)
    make_deliveries(
        corp,
        created_at=datetime(2026, 11, 23, 16, tzinfo=UTC),
        recipient_count=100,
        invalid_count=3,
        unlicensed_count=2,
    )
    for status, count in (("failed", 10), ("canceled", 20), ("unknown", 4), ("sending", 5)):
        make_deliveries(corp, created_at=datetime(2026, 11, 24, 1, tzinfo=UTC), recipient_count=count, status=status)
    make_deliveries(corp, created_at=datetime(2026, 11, 24, 16, tzinfo=UTC), recipient_count=1000)
    make_deliveries(corp, created_at=datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC), recipient_count=1000)

    found = count_last_days(Delivery.objects.all(), today=day, days=3, zone=SHANGHAI)

    assert found == [
        DayCounts(day - timedelta(days=2), OutcomeCounts()),
        DayCounts(day - timedelta(days=1), OutcomeCounts(accepted=7)),
        DayCounts(day, OutcomeCounts(accepted=95, refused=35, unknown=4, waiting=5)),
    ]


def test_what_waits_counts_whenever_it_was_made_and_what_is_settled_today_only(root: Client) -> None:
    first, second = make_corp(name="甲"), make_corp(name="乙")
    midnight = datetime.combine(timezone.localdate(), time(), tzinfo=SHANGHAI)
    yesterday, today = midnight - timedelta(seconds=1), midnight
    make_deliveries(first, created_at=yesterday, status="pending", recipient_count=2)
    make_deliveries(first, created_at=today, status="pending", recipient_count=3)
    make_deliveries(first, created_at=yesterday, recipient_count=50)
    make_deliveries(first, created_at=today, recipient_count=60)
    make_deliveries(second, created_at=today, status="failed", recipient_count=4)

    found = read_index(root)

    names = ("今日送达", "今日被拒绝或已取消", "等待")
    values = [[read_lines(found, corp.name)[name][0] for name in names] for corp in (first, second)]
    assert values == [["60 人次", "0 人次", "5 人次"], ["0 人次", "4 人次", "0 人次"]]


def make_days(*counts: OutcomeCounts) -> list[DayCounts]:
    first = datetime(2026, 11, 30, tzinfo=UTC).date()
    return [DayCounts(first + timedelta(days=number), each) for number, each in enumerate(counts)]


def test_a_bar_is_stacked_from_its_parts_to_scale() -> None:
    drawn = overview.place_bars(make_days(OutcomeCounts(accepted=50, unknown=25, refused=25), OutcomeCounts()))

    assert [bar["parts"] for bar in drawn["bars"]] == [
        [("accepted", 50, 50), ("unknown", 25, 25), ("refused", 0, 25)],
        [],
    ]
    assert drawn["total"] == OutcomeCounts(accepted=50, unknown=25, refused=25)


def test_three_refused_among_thousands_can_be_seen() -> None:
    [bar] = overview.place_bars(make_days(OutcomeCounts(accepted=99_997, refused=3)))["bars"]

    assert [(name, height) for name, _y, height in bar["parts"]] == [("accepted", 100), ("refused", overview.LOWEST)]


@pytest.mark.parametrize(("highest", "top"), [(0, 1), (1, 1), (7, 8), (11, 20), (1000, 1000)])
def test_the_scale_ends_on_a_round_number_and_the_month_is_named_where_it_begins(highest: int, top: int) -> None:
    drawn = overview.place_bars(make_days(OutcomeCounts(accepted=highest), OutcomeCounts(), OutcomeCounts()))

    assert drawn["top"] == top
    assert [bar["label"] for bar in drawn["bars"]] == ["11/30", "12/1", "2"]


def test_the_page_draws_the_picture_and_says_the_same_in_a_table(root: Client) -> None:
    corp = make_corp()
    empty = root.get("/admin/").content.decode()
    assert '<svg class="picture"' not in empty
    assert "最近 14 天没有推送" in empty
    make_deliveries(corp, recipient_count=1234, invalid_count=34)
    make_deliveries(corp, recipient_count=5, status="unknown")

    html = root.get("/admin/").content.decode()

    [svg] = re.findall(r'<svg class="picture".*?</svg>', html, re.DOTALL)
    assert len(re.findall(r"<g>", svg)) == 14
    assert re.findall(r'rect class="(bar-\w+)"', svg) == ["bar-accepted", "bar-unknown", "bar-refused"]
    today = f"{timezone.localdate():%Y-%m-%d}"
    assert f"<title>{today} · 送达 1,200 · 结果未知 5 · 被拒绝或已取消 34</title>" in svg
    assert f'<th scope="row">{today}</th><td>1,200</td><td>5</td><td>34</td><td>0</td>' in html
    assert "单位：人次/天" in html
    assert "style=" not in svg


def test_today_lists_what_went_out_what_comes_and_what_is_wrong(root: Client) -> None:
    make_corp()
    now = timezone.now()
    often = make_subscription(report=make_report(), name="库存", next_run_at=now + timedelta(days=2))
    make_run(often, now - timedelta(seconds=3), status=Run.Status.FAILED)
    reached = {"recipient_count": 30, "skipped_count": 2, "rendered_at": now}
    make_run(often, now - timedelta(seconds=2), status=Run.Status.FINISHED, **reached)
    make_run(often, now - timedelta(seconds=1), trigger=Run.Trigger.TRIAL, status=Run.Status.FAILED)
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), now)
    Incident.objects.create(key="overdue", title="逾期", **times)
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    make_subscription(report=make_report(), name="周报", next_run_at=midnight - timedelta(microseconds=1))
    make_subscription(report=make_report(), name="明天", next_run_at=midnight + timedelta(seconds=1))
    make_subscription(report=make_report(), name="停用", next_run_at=now + timedelta(seconds=1), is_enabled=False)

    found = read_index(root)

    assert [(line.name, line.people, line.is_to_come) for line in found["today"]] == [
        ("库存", 30, False),
        ("逾期", None, False),
        ("周报", None, True),
    ]
    assert found["today"][0].note == "2 人未发送"
    assert found["sentence"] == "今天已送达 0 人次 · 下一次 23:59 周报"


def test_today_names_only_what_the_person_may_see() -> None:
    mine, other = make_corp(), make_corp()
    now = timezone.now()
    for corp, name in ((mine, "甲的"), (other, "乙的")):
        push = make_subscription(report=make_report(corp=corp), name=name)
        make_run(push, now, status=Run.Status.FINISHED, corp=corp)

    assert [line.name for line in read_index(client_of(make_manager(mine)))["today"]] == ["甲的"]
    assert read_index(client_of(make_staff("view_corp", manages_all_corps=True)))["today"] == []


def test_a_card_says_how_its_company_stands(root: Client) -> None:
    corp = make_corp(name="北山制造")
    make_deliveries(corp, recipient_count=1200, invalid_count=3)
    make_deliveries(corp, recipient_count=5, status="unknown")
    make_deliveries(corp, recipient_count=8, status="pending")
    own = make_subscription(report=make_report(corp=corp), next_run_at=datetime(2026, 11, 25, 1, tzinfo=UTC))
    make_subscription(report=make_report(), next_run_at=datetime(2026, 11, 25, 0, tzinfo=UTC), is_enabled=False)

    found = read_lines(read_index(root), "北山制造")

    assert found["状态"] == ("正常", "good")
    assert found["今日送达"] == ("1,197 人次", "")
    assert found["今日被拒绝或已取消"] == ("3 人次", "bad")
    assert found["今日结果未知"] == ("5 人次", "bad")
    assert found["等待"] == ("8 人次", "")
    assert own.next_run_at is not None
    assert found["下次推送"] == ("2026-11-25 09:00", "")


def test_a_report_for_every_company_is_the_next_due_of_each(root: Client) -> None:
    make_corp(name="甲"), make_corp(name="乙", is_enabled=False)
    make_subscription(report=make_report(), next_run_at=datetime(2026, 11, 25, 0, tzinfo=UTC))

    found = read_index(root)

    assert read_lines(found, "甲")["下次推送"] == ("2026-11-25 08:00", "")
    assert read_lines(found, "乙")["下次推送"] == ("—", "")


def test_every_link_of_the_index_opens(root: Client) -> None:
    corp = make_corp()
    make_deliveries(corp, recipient_count=5, status="unknown")
    make_run(make_subscription(report=make_report()), timezone.now(), status=Run.Status.FAILED)
    found = read_index(root)
    urls = {line.url for _corp, lines in found["cards"] for line in lines}
    urls |= {item.url for item in found["attentions"]} | {f"/admin/integrations/corp/{corp.pk}/change/"}

    with skip_drawing():
        answers = [root.get(url).status_code for url in urls - {""}]

    assert answers == [200] * 7


def test_what_needs_attention_is_named_with_its_page(root: Client) -> None:
    corp, disabled = make_corp(), make_corp(is_enabled=False)
    long_ago = timezone.now() - timedelta(minutes=6)
    make_deliveries(corp, number=2, status="pending", next_attempt_at=long_ago)
    make_deliveries(disabled, status="pending", next_attempt_at=long_ago)  # waits on purpose
    make_deliveries(corp, status="unknown")
    subscription = make_subscription(report=make_report())
    make_run(subscription, timezone.now(), status=Run.Status.FAILED)
    make_run(subscription, timezone.now() - timedelta(days=2), status=Run.Status.FAILED)
    make_run(subscription, timezone.now(), status=Run.Status.MISSED)

    found = {item.sentence: item.url for item in read_index(root)["attentions"]}

    deliveries, runs = "/admin/notifications/delivery/", "/admin/notifications/run/"
    assert (
        found["有 2 条消息已到时间 5 分钟以上仍未发送：请检查后台进程是否在运行。"]
        == f"{deliveries}?status__exact=pending"
    )
    assert found["最近 24 小时内有 1 条消息不确定是否送达。"] == f"{deliveries}?status__exact=unknown&day=week"
    assert found["最近 24 小时内有 1 次执行失败。"] == f"{runs}?status__exact=failed&day=week"
    assert found["最近 24 小时内错过了 1 次。"] == f"{runs}?status__exact=missed&day=week"


def test_a_wrong_check_and_a_company_that_was_never_enabled_need_attention(root: Client) -> None:
    bad, fine, new = make_corp(name="甲"), make_corp(name="乙"), make_corp(name="丙", is_enabled=False)
    now = timezone.now()
    fields = {"check_name": "token", "connection_version": 1, "requested_at": now, "finished_at": now}
    CheckRun.objects.create(corp=bad, status="wrong", problem="refused", **fields)
    CheckRun.objects.create(corp=fine, status="ok", **fields)

    found = read_index(root)

    assert read_lines(found, "甲")["上次诊断"][1] == "bad"
    assert read_lines(found, "甲")["访问凭证（access_token）"][1] == "bad"
    assert read_lines(found, "乙")["访问凭证（access_token）"][1] == "good"
    assert read_lines(found, "乙")["诊断时间"] == (f"{timezone.localtime(now):%Y-%m-%d %H:%M}", "")
    item, to_do = sorted(found["attentions"], key=lambda one: one.tone)
    assert (to_do.sentence, to_do.tone) == ("“丙”尚未启用：请继续完成其步骤。", "warn")
    assert to_do.url == f"/admin/integrations/corp/{new.pk}/change/"
    assert item.sentence.startswith("“甲”最近一次诊断：")
    assert item.tone == "bad"
    assert item.url == f"/admin/integrations/corp/{bad.pk}/change/#diagnosis"


def test_an_address_that_nobody_reaches_needs_attention_unless_all_is_the_sandbox(root: Client) -> None:
    address = SiteAddress.objects.default()
    make_corp(api_base_url="http://127.0.0.1:9000")
    Corp.objects.update(is_enabled=True)
    SiteAddress.objects.update(url="http://localhost:3001/")
    headers = {"host": "localhost:3001"}
    assert read_index(root, headers=headers)["attentions"] == []

    make_corp()

    [item] = read_index(root, headers=headers)["attentions"]
    assert item.url == f"/admin/integrations/siteaddress/{address.pk}/change/"


@pytest.mark.parametrize(
    ("environment", "host_cookies", "url", "is_advised"),
    [
        ("production", False, "https://testserver/", True),
        ("production", True, "https://testserver/", False),
        ("production", False, "http://testserver/", False),
        ("demo", False, "https://testserver/", False),
    ],
)
def test_host_cookies_are_advised_where_every_address_is_https(
    root: Client, settings: Settings, environment: str, host_cookies: bool, url: str, is_advised: bool
) -> None:
    settings.ENVIRONMENT, settings.HOST_COOKIES = environment, host_cookies
    limited = client_of(make_manager(make_corp()))
    Corp.objects.update(is_enabled=True)
    SiteAddress.objects.update(url=url)

    def advised(client: Client) -> list[str]:
        found = read_index(client, secure=url.startswith("https"))
        return [item.url for item in found["attentions"] if "HOST_COOKIES" in item.sentence]

    assert advised(root) == (["/admin/integrations/siteaddress/"] if is_advised else [])
    assert advised(limited) == []


def test_alert_rules_that_go_by_working_days_are_named_before_the_calendar_ends(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown_day = date(find_last_known_year() + 1, 2, 1)
    monkeypatch.setattr(dashboard, "CALENDAR_NOTICE", unknown_day - timezone.localdate())
    make_rule(make_card(), name="按时段", notify_from=time(9), notify_until=time(18))
    make_rule(make_card(), name="已停用", notifies_on_workdays_only=True, is_enabled=False)
    blind = client_of(make_manager(make_corp(), permissions="view_subscription"))

    def calendar(client: Client) -> list[tuple[str, str]]:
        found = read_index(client)["attentions"]
        return [
            (one.sentence.partition("涉及：")[2], one.url) for one in found if one.sentence.startswith("本版本还没有")
        ]

    assert calendar(root) == []
    make_rule(make_card(), name="按工作日", notifies_on_workdays_only=True)
    make_rule(make_card(), name="不查休息日", free_days=FreeDays.SKIP)
    [(named, url)] = calendar(root)
    assert (set(named.split("、")), url) == ({"按工作日", "不查休息日"}, "/admin/notifications/workdaycalendar/")
    assert read_index(blind)["attentions"] == []

    corp = make_corp()
    make_subscription(name="工作日简报", report=make_report(corp=corp), free_days=FreeDays.SKIP)
    assert calendar(root)[0][0].startswith("工作日简报、")
    reader = client_of(make_manager(corp, permissions="view_subscription"))
    assert calendar(reader) == [("工作日简报", "/admin/notifications/subscription/?state=enabled")]


LATER = datetime(2126, 11, 24, 1, 0, tzinfo=UTC)


def make_card() -> Card:
    source, _is_new = DataSource.objects.get_or_create(name="数据仓库", kind="sql")
    return Card.objects.create(name=f"门店销售额 {Card.objects.count()}", source=source, sql="SELECT 1")


def test_what_is_enabled_and_has_no_further_time_is_named_for_as_long_as_that_lasts(root: Client) -> None:
    for fields in ({}, {"is_enabled": False}, {"valid_to": LATER}, {"next_run_at": LATER}):
        times: dict[str, Any] = {"next_run_at": None, **fields}
        make_subscription(**times)
        make_rule(make_card(), **times)
    blind = client_of(make_manager(make_corp(), permissions="view_run"))

    found = [(item.sentence, item.url) for item in read_index(root)["attentions"] if "没有下次" in item.sentence]

    assert found == [
        (
            "有 1 个已启用的推送没有下次执行时间，不会再发送：请重新保存它们的发送时间。",
            "/admin/notifications/subscription/?state=enabled",
        ),
        (
            "有 1 个已启用的预警规则没有下次检查时间，不会再检查：请重新保存它们的检查时间。",
            "/admin/notifications/alertrule/?state=enabled",
        ),
    ]
    assert read_index(blind)["attentions"] == []


def make_staff(*codenames: str, **fields: Any) -> User:
    person = User.objects.create(username=f"staff{User.objects.count()}", is_staff=True, **fields)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return person


def test_a_limited_administrator_sees_their_companies_only() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    make_deliveries(mine, recipient_count=3)
    make_deliveries(other, recipient_count=500, status="unknown")
    make_subscription(report=make_report(), next_run_at=datetime(2026, 11, 25, 0, tzinfo=UTC))

    found = read_index(client_of(make_manager(mine)))

    assert [corp.name for corp, _lines in found["cards"]] == ["甲"]
    assert found["picture"] is not None
    assert found["picture"]["total"] == OutcomeCounts(accepted=3)
    assert found["attentions"] == []
    # A report for all companies is shown only to people who see all of them.
    assert read_lines(found, "甲")["下次推送"] == ("—", "")


def test_nobody_sees_what_they_may_not_open() -> None:
    corp = make_corp(name="甲")
    make_deliveries(corp, recipient_count=500, status="unknown")

    only_corps = read_index(client_of(make_staff("view_corp", manages_all_corps=True)))
    only_pushes = read_index(client_of(make_staff("view_delivery", manages_all_corps=True)))
    nothing = read_index(client_of(make_staff(manages_all_corps=True)))

    assert set(read_lines(only_corps, "甲")) == {"状态", "上次诊断"}
    assert only_corps["picture"] is None
    assert only_corps["attentions"] == []
    assert set(read_lines(only_pushes, "甲")) == {"上次送达", "今日送达", "今日被拒绝或已取消", "今日结果未知", "等待"}
    assert not only_pushes["may_open_corps"]
    assert [nothing[name] for name in ("cards", "attentions", "steps")] == [[], [], []]
    assert nothing["picture"] is None


def count_queries(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/admin/").status_code == 200
    return len(queries)


def test_the_index_takes_as_many_queries_for_50_companies_and_1_000_deliveries() -> None:
    client = client_of(make_staff(*Permission.objects.values_list("codename", flat=True), manages_all_corps=True))
    corps = [make_corp()]
    make_subscription(report=make_report())
    client.get("/admin/")
    counts = [count_queries(client)]
    corps += [make_corp(is_enabled=number % 2 == 0) for number in range(49)]
    counts.append(count_queries(client))
    make_deliveries(corps[0], number=1000)
    counts.append(count_queries(client))

    assert len(set(counts)) == 1, counts
    assert counts[0] <= 71  # three of them in December only, while the holidays of the next year are unknown
    assert len(read_index(client)["cards"]) == 50


def test_more_companies_than_cards_lead_to_the_list(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "CARDS_SHOWN", 2)
    for _number in range(3):
        make_corp()

    answer = root.get("/admin/")

    assert len(answer.context["overview"]["cards"]) == 2
    assert "还有更多公司" in answer.content.decode()
