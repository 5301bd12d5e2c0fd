"""The demo's data: complete, repeatable, refused in production, and understood by the sandbox."""

from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from pytest_django import Settings
from wecom_sandbox.state import bi

from accounts.models import AttributeValue, User, WeComAccount
from integrations.bi import format_public_keys
from integrations.data.table import from_document
from integrations.models import BiConnection, Corp, SiteAddress
from notifications.delivery.attachments import make_from_recipe
from notifications.delivery.rendering import render
from notifications.models import Delivery, Incident, Medium, Receipt, Report, ReportCard, Subscription
from notifications.reports.contents import load_content
from notifications.sources import Audience
from notifications.subscriptions.recipients import count_reachability
from tests.bi import BI, make_bi
from tests.browser_form import parse_form
from tests.notifications.factories import NOW, make_run
from tests.notifications.reports.places import answer
from tools.demo import seed as seed_program
from tools.demo import seeding
from tools.demo.figures import (
    REGIONS,
    SHORT_STOCK_DAYS,
    SLOW_SALES,
    make_overdue_rows,
    make_sales_rows,
    make_stock_rows,
)

pytestmark = pytest.mark.django_db
TODAY = NOW.astimezone(ZoneInfo("Asia/Shanghai")).date()


def seed(port: int = 3001, now: datetime = NOW) -> seeding.DemoAccess:
    return seeding.seed_database(
        web_address=f"http://localhost:{port}/", sandbox_address=f"http://127.0.0.1:{port + 1}", now=now
    )


def counts() -> dict[str, int]:
    models = (Corp, User, WeComAccount, Report, Subscription)
    return {model.__name__: model.objects.count() for model in models}


def test_two_companies_with_240_reachable_people_of_whom_two_have_a_password() -> None:
    seeded = seed()

    admin = User.objects.get(username="admin")
    employee = User.objects.get(username=seeded.employee_username)
    assert counts() == {"Corp": 2, "User": 240, "WeComAccount": 240, "Report": 3, "Subscription": 3}
    assert count_reachability(Audience(to_everyone=True), seen_by=admin).reachable_count == 240
    assert {corp.api_base_url for corp in Corp.objects.enabled()} == {"http://127.0.0.1:3002"}
    assert (admin.is_superuser, admin.check_password(seeded.password)) == (True, True)
    assert (employee.is_staff, employee.check_password(seeded.password)) == (False, True)
    assert admin.wecom_accounts.complete().exists()
    assert not User.objects.exclude(pk__in=[admin.pk, employee.pk]).filter(password__startswith="pbkdf2").exists()


@pytest.mark.parametrize("minutes", [0, 1])
def test_the_first_message_is_due_within_a_minute_whatever_the_minute(minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)

    seed(now=now)

    due = Subscription.objects.get(name="销售日报").next_run_at
    assert due is not None
    assert timedelta(0) < due - now <= timedelta(minutes=1)


def test_seeding_again_changes_addresses_and_keeps_what_a_person_changed() -> None:
    seed()
    before, key = counts(), BiConnection.objects.get().private_key
    User.objects.filter(username="admin").update(name="改过的名字")
    Subscription.objects.filter(name="销售日报").update(crontab="0 8 * * *")

    seed(port=4001)

    connection = BiConnection.objects.get()
    assert counts() == before
    assert User.objects.get(username="admin").name == "改过的名字"
    assert Subscription.objects.get(name="销售日报").crontab == "0 8 * * *"
    assert SiteAddress.objects.default().url == "http://localhost:4001/"
    assert {corp.api_base_url for corp in Corp.objects.all()} == {"http://127.0.0.1:4002"}
    assert (connection.private_key, connection.base_url) == (key, "http://127.0.0.1:4002/guandata")


def test_who_left_between_two_starts_stays_a_person_without_a_link() -> None:
    seed()
    leaver = User.objects.filter(is_staff=False).order_by("-pk")[0]
    leaver.wecom_accounts.all().delete()

    seed()

    assert not leaver.wecom_accounts.exists()
    assert counts() == {"Corp": 2, "User": 240, "WeComAccount": 239, "Report": 3, "Subscription": 3}


def test_production_is_refused_and_nothing_is_written(settings: Settings) -> None:
    settings.ENVIRONMENT = "production"

    assert seed_program.main([]) == 1

    assert not Corp.objects.exists()


def test_reports_say_what_the_figures_say() -> None:
    seed()
    rows_of = {"sales": make_sales_rows(TODAY), "stock": make_stock_rows(TODAY), "overdue": make_overdue_rows(TODAY)}
    for one in ReportCard.objects.select_related("card"):
        rows = rows_of[one.alias]
        guessed = {name: "number" if isinstance(value, int | float) else "text" for name, value in rows[0].items()}
        columns = [[name, one.card.kinds.get(name, kind)] for name, kind in guessed.items()]
        document = {"columns": columns, "as_of": NOW.isoformat()}
        answer(one.report, from_document({**document, "rows": [[*row.values()] for row in rows], "is_cut": False}))
    runs = [make_run(subscription) for subscription in Subscription.objects.order_by("pk")]
    for run in runs:
        render.render_run(run_id=run.pk, now=NOW)

    drawn = Medium.objects.filter(run__in=runs[:2], kind=Medium.Kind.PICTURE, queue="charts")
    assert [make_from_recipe(one.kind, bytes(one.recipe))["content"][:4] for one in drawn] == [b"\x89PNG"] * 3
    assert Medium.objects.filter(run=runs[1], queue="snapshots").count() == 1  # drawn as its owner sees the page
    sales, stock = (Delivery.objects.filter(run=run).order_by("pk")[0] for run in runs[:2])
    yesterday = [row for row in rows_of["sales"] if row["日期"] == (TODAY - timedelta(days=1)).isoformat()]
    assert sales.title == f"销售日报 {TODAY.month}月{TODAY.day - 1}日"
    assert sales.text.startswith(f"销售额 {sum(row['销售额'] for row in yesterday):,} 元，比前一天 ")
    assert [line.split()[1] for line in sales.text.splitlines()[2:6]] == [*REGIONS]
    assert sales.link == "/bi/page/sales"
    assert "成都仓 " in stock.text.split("1. ")[1]
    # Each person gets only the rows of their own regions; people without one are left out.
    overdue = Delivery.objects.filter(run=runs[2])
    assert overdue.count() == 2 * len(REGIONS) + 1  # of two companies; the management sees all regions
    assert Receipt.objects.filter(run=runs[2], reason=Receipt.Reason.NO_VALUE).count() > 10
    for delivery in overdue.select_related("content"):
        [person, *_others] = [receipt.user for receipt in delivery.receipts.select_related("user")]
        regions = set(AttributeValue.objects.filter(user=person).values_list("value", flat=True))
        assert set(load_content(bytes(delivery.content.document)).tables["overdue"].list_values("区域")) == regions  # type: ignore[union-attr]  # a report with cards


def test_the_past_is_two_weeks_of_pushes_and_thirty_days_of_alerts_of_which_none_is_open() -> None:
    seed()

    daily, weekly = Subscription.objects.order_by("pk")[:2]
    assert (daily.runs.count(), weekly.runs.count()) == (13, 2)
    assert not Delivery.objects.exclude(status=Delivery.Status.ACCEPTED).exists()
    assert (
        sum(run.recipient_count for run in daily.runs.all()) == Receipt.objects.filter(run__subscription=daily).count()
    )
    by_rule = Counter(Incident.objects.values_list("rule__name", flat=True))
    assert by_rule.keys() == {"日销售额偏低", "库存告急"}
    assert min(by_rule.values()) >= 2
    assert not Incident.objects.open().exists()


def test_of_the_two_alerts_exactly_one_fires_on_any_day() -> None:
    for number in range(40):
        today = TODAY + timedelta(days=number)
        yesterday = (today - timedelta(days=1)).isoformat()
        sold = sum(row["销售额"] for row in make_sales_rows(today) if row["日期"] == yesterday)
        shortest = min(row["可售天数"] for row in make_stock_rows(today) if row["日期"] == yesterday)

        assert (sold < SLOW_SALES, shortest < SHORT_STOCK_DAYS) == (False, True)


def test_every_push_opens_as_merge_fields_and_can_be_saved_as_it_is() -> None:
    seed()
    client = Client()
    client.force_login(User.objects.get(username="admin"))
    for subscription in Subscription.objects.select_related("report"):
        report = subscription.report
        address = f"/admin/notifications/subscription/{subscription.pk}/change/"
        sent = parse_form(client.get(address).text, "subscription_form")

        answered = client.post("/admin/notifications/subscription/outlook/", sent | {"_id": subscription.pk}).json()

        for name, template in (("title", report.title), ("body", report.body), ("figures", report.figures)):
            parts = answered["parts"][name]
            assert "".join(part.get("template", part.get("text")) for part in parts) == template
            assert any("label" in part for part in parts) == ("{{" in template)
            assert not [part for part in parts if "{" in part.get("text", "")]
        assert client.post(address, {**sent, "_save": "1"}).status_code == 302


def test_a_bi_that_somebody_connected_stays() -> None:
    make_bi()

    seed()

    assert BiConnection.objects.get().base_url == BI


def test_the_stand_in_bi_is_connected_and_knows_everybody() -> None:
    seeded = seed()

    connection = BiConnection.objects.get()
    stand_in = seeding.make_sandbox_seed(seeded.companies, now=NOW)["bi"]
    assert (connection.is_enabled, connection.base_url) == (True, "http://127.0.0.1:3002/guandata")
    assert stand_in["public_key"] == (format_public_keys(connection) or ("",))[0]
    assert {user["login_id"] for user in stand_in["users"]} == {*User.objects.values_list("username", flat=True), "api"}
    assert [(page["page_id"], page["cards"][0]["rows"][-1]["日期"]) for page in stand_in["pages"]] == [
        (name, (TODAY - timedelta(days=1)).isoformat()) for name in ("sales", "stock", "overdue")
    ]
    homes = {corp.name: (corp.home_page, corp.home_bi_page) for corp in Corp.objects.all()}
    assert homes == {"云岭食品": ("ours", ""), "云岭物流": ("bi", "page/stock")}
    bi.read_bi(stand_in)
