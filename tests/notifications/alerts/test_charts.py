"""Charts of the data with which an incident opened: when they are made, how long they are kept, who sees them."""

import re
import zlib
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import signing
from django.test import Client
from django.utils import timezone

from accounts.models import Attribute, User
from accounts.users.attributes import set_values
from integrations.data.table import Column, Kind, Table, from_document
from integrations.models import Card, Corp, DataSource
from notifications.alerts import charts
from notifications.charts import definition
from notifications.charts.definition import Chart
from notifications.charts.vega import build_spec
from notifications.delivery.attachments import (
    OVERDUE,
    PREVIEW_KEPT,
    MediaPlan,
    WantedMedium,
    hand_out_media,
    sweep_media,
    unpack_recipe,
)
from notifications.delivery.maintenance import purge_runs_and_incidents
from notifications.delivery.rendering import preview as rendering
from notifications.models import AlertRule, Incident, Medium
from tests.notifications.admin.conftest import client_of
from tests.notifications.alerts.rules import check, check_each, parse, watch
from tests.notifications.charts.tables import AS_OF, DAYS, SALES
from tests.notifications.delivery.attachments.places import make_medium, make_run
from tests.notifications.factories import NOW, make_corp, make_manager, make_person, make_superuser

pytestmark = pytest.mark.django_db
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
SHOPS = (Column("城市", Kind.TEXT), Column("门店", Kind.TEXT), Column("销售额", Kind.NUMBER), Column("店长", Kind.TEXT))
# 上海 and 北京 are below 100, 广州 is not.
DATA = Table(
    SHOPS,
    (
        ("上海", "南京路", 20, "甲"),
        ("上海", "淮海路", 30, "乙"),
        ("北京", "王府井", 40, "丙"),
        ("北京", "西单", 50, "丁"),
        ("广州", "天河", 500, "戊"),
    ),
    NOW,
)


@pytest.fixture
def rule(rule: AlertRule) -> AlertRule:
    watch(rule, "any 销售额 < 100", time_zone="Asia/Tokyo")
    rule.refresh_from_db()
    return rule


def split_by_city(rule: AlertRule, people: list[User]) -> None:
    city = Attribute.objects.create(key="city", name="城市", is_many_valued=True)
    set_values(attribute=city, values={people[0].pk: ["上海"], people[1].pk: ["北京"]})
    watch(rule, "max 销售额 < 100", split_column="城市", split_attribute=city)


def recipe_of(medium: Medium) -> dict[str, Any]:
    return unpack_recipe(bytes(medium.recipe))


def mark_drawn() -> None:
    """Mark all waiting pictures as drawn, as a worker does."""
    fields = {"content": b"\x89PNG", "svg": zlib.compress(SVG), "width": 390, "height": 300, "recipe": b""}
    Medium.objects.filter(status="waiting").update(status="ready", made_at=timezone.now(), **fields)


def pictures_on(client: Client, path: str) -> list[str]:
    """Return the addresses of the pictures on a page that must exist."""
    answer = client.get(path)
    assert answer.status_code == 200
    return re.findall(r'<img src="([^"]+)"', answer.content.decode())


class TestAsked:
    def test_for_an_incident_when_it_opens_and_not_again_while_it_lasts(self, rule: AlertRule) -> None:
        check_each(rule, DATA, DATA)

        medium = Medium.objects.get()
        assert (medium.incident, medium.run) == (Incident.objects.get(), None)
        assert (medium.kind, medium.status) == ("picture", "waiting")
        recipe = recipe_of(medium)
        assert (recipe["chart"]["title"], recipe["chart"]["thresholds"]) == ("至少一行 销售额 小于 100", [100.0])
        assert (recipe["language"], recipe["time_zone"]) == ("zh-hans", "Asia/Tokyo")
        assert recipe["table"]["rows"][:2] == [["南京路", 20], ["淮海路", 30]]

    def test_with_the_rows_of_its_own_part_alone(self, rule: AlertRule, people: list[User]) -> None:
        split_by_city(rule, people)
        check(rule, NOW, DATA)
        rows = {one.part: recipe_of(one.pictures.get())["table"]["rows"] for one in Incident.objects.all()}
        assert rows == {"上海": [["南京路", 20], ["淮海路", 30]], "北京": [["王府井", 40], ["西单", 50]]}

    def test_of_the_conditions_that_hold(self, rule: AlertRule) -> None:
        watch(rule, "any 销售额 > 9000\nany 销售额 < 100\nany 销售额 < 100\nsum 销售额 > 1\ncount > 0", join="any")
        check(rule, NOW, DATA)
        titles = [recipe_of(one)["chart"]["title"] for one in Medium.objects.order_by("pk")]
        assert titles == ["至少一行 销售额 小于 100", "销售额 合计 大于 1"]

    def test_few_of_many_and_a_first_of_each_before_a_second(
        self, rule: AlertRule, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(charts, "REQUESTED_AT_MOST", 3)
        watch(rule, "max 销售额 < 100\nmin 销售额 < 90", split_column="城市")
        check(rule, NOW, DATA)
        assert {one.part: one.pictures.count() for one in Incident.objects.all()} == {"上海": 2, "北京": 1}


class TestLifeOfOne:
    def test_it_is_drawn_before_what_reports_wait_for_and_is_no_preview(self, rule: AlertRule) -> None:
        of_a_report = make_medium(make_run())
        check(rule, NOW, DATA)
        medium, user = Medium.objects.exclude(incident=None).get(), make_superuser()
        assert hand_out_media(now=NOW) == [medium.pk, of_a_report.pk]
        of_a_report.delete()

        same = WantedMedium(Medium.Kind.PICTURE, bytes(medium.recipe), "")
        begun = rendering.begin_media(MediaPlan(same), by=user, now=NOW)
        assert begun is not None
        assert begun[0] != [medium.pk]
        assert not Medium.objects.previews().filter(pk=medium.pk).exists()
        token = signing.dumps((medium.pk, user.pk, 0), salt=rendering.PREVIEW_SALT)
        assert rendering.find_medium_state(token, by=user, now=timezone.now()) is None
        mark_drawn()
        sweep_media(now=NOW + PREVIEW_KEPT)
        assert list(Medium.objects.all()) == [medium]

    def test_it_goes_with_its_incident(self, rule: AlertRule, settings: Any) -> None:
        settings.LOG_RETENTION_DAYS = 30
        watch(rule, "max 销售额 < 100", split_column="城市")
        check(rule, NOW, DATA)
        kept, gone = Incident.objects.order_by("pk")
        Incident.objects.filter(pk=gone.pk).update(status="resolved", resolved_at=NOW)

        assert purge_runs_and_incidents(now=NOW + timedelta(days=29)) == 0
        assert [purge_runs_and_incidents(now=NOW + timedelta(days=31)) for _ in range(3)] == [1, 1, 0]
        assert (Incident.objects.get(), Medium.objects.get().incident) == (kept, kept)


class TestOnTheAlertPage:
    def test_stands_with_its_lines_for_those_who_are_told(self, rule: AlertRule, people: list[User]) -> None:
        check(rule, NOW, DATA)
        mark_drawn()
        client = client_of(people[0])

        [address] = pictures_on(client, f"/alerts/{Incident.objects.get().pk}/")

        formats = (("svg", SVG, "image/svg+xml"), ("png", b"\x89PNG", "image/png"))
        for extension, content, content_type in formats:
            answer = client.get(address.replace(".svg", f".{extension}"))
            assert (answer.content, answer["Content-Type"]) == (content, content_type)
            assert answer["Cache-Control"].startswith("private, no-store")
            assert "sandbox" in answer["Content-Security-Policy"]
            assert "script-src" not in answer["Content-Security-Policy"]
        assert client.get(address.replace(".svg", ".xlsx")).status_code == 404
        assert client.post(address).status_code == 405

    def test_is_nobody_elses_and_no_more_of_who_is_off_duty_or_disabled(
        self, rule: AlertRule, corp: Corp, people: list[User]
    ) -> None:
        check(rule, NOW, DATA)
        mark_drawn()
        path = f"/alerts/{Incident.objects.get().pk}/"
        [address] = pictures_on(client_of(people[0]), path)

        colleague, stranger = make_person(corp, "wang"), make_person(make_corp(), "zhang")
        for person in (colleague, stranger, make_manager(make_corp(), permissions="incident")):
            assert [client_of(person).get(one).status_code for one in (path, address)] == [404, 404]
        refused = Client(headers={"host": "localhost:3001"}).get(address)
        assert (refused.status_code, SVG in refused.content) == (302, False)
        told, disabled = client_of(people[0]), client_of(people[1])
        rule.users.remove(people[0])
        User.objects.filter(pk=people[1].pk).update(is_active=False)
        assert [one.get(address).status_code for one in (told, disabled)] == [404, 302]

    def test_of_another_value_is_refused_whatever_address_is_guessed(self, rule: AlertRule, people: list[User]) -> None:
        split_by_city(rule, people)
        check(rule, NOW, DATA)
        mark_drawn()
        of = {one.part: one for one in Incident.objects.all()}
        theirs, of_a_message = of["北京"].pictures.get(), make_medium(make_run(), status="ready")
        preview = Medium.objects.create(kind="picture", status="ready", svg=theirs.svg, created_at=NOW, make_after=NOW)
        client = client_of(people[0])

        assert len(pictures_on(client, f"/alerts/{of['上海'].pk}/")) == 1
        guesses = [f"/alerts/{of['北京'].pk}/", f"/alerts/{of['北京'].pk}/{theirs.pk}.svg"]
        for pk in (theirs.pk, of_a_message.pk, preview.pk, 0, 10**30):
            guesses += [f"/alerts/{of['上海'].pk}/{pk}.{extension}" for extension in ("svg", "png")]
        assert {guess: client.get(guess).status_code for guess in guesses} == dict.fromkeys(guesses, 404)

    def test_that_is_not_there_says_why(self, rule: AlertRule, people: list[User]) -> None:
        check(rule, timezone.now(), DATA)
        client, medium = client_of(people[0]), Medium.objects.get()
        path = f"/alerts/{Incident.objects.get().pk}/"

        def said() -> str:
            answer = client.get(path).content.decode()
            assert "<img" not in answer
            assert client.get(f"{path}{medium.pk}.svg").status_code == 404
            [words] = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", answer)
            return str(words)

        assert "仍在绘制" in said()
        Medium.objects.update(created_at=timezone.now() - OVERDUE)
        assert "charts" in said()  # no worker is alive
        make_medium(make_run(), status="ready", made_at=timezone.now())
        assert "仍在绘制" in said()  # a worker is busy
        Medium.objects.filter(pk=medium.pk).update(status="failed", error="没有可绘制的内容。")
        assert said().endswith("未能生成：没有可绘制的内容。")


class TestInTheAdministration:
    def path(self) -> str:
        return f"/admin/notifications/incident/{Incident.objects.get().pk}/change/"

    @pytest.mark.parametrize("is_read", [True, False])
    def test_shows_no_data_of_a_company_that_the_administrator_does_not_see(
        self, rule: AlertRule, corp: Corp, is_read: bool
    ) -> None:
        """Incidents belong to the rule's company, their data to the company of the card."""
        check(rule, NOW, DATA)
        mark_drawn()
        if not is_read:
            DataSource.objects.update(corp=make_corp())
        client = client_of(make_manager(corp, permissions="incident"))
        incident = Incident.objects.get()
        medium = incident.pictures.get()

        assert len(pictures_on(client, self.path())) == is_read
        # On both pages: who may change incidents may view the employees' page, too.
        assert len(pictures_on(client, f"/alerts/{incident.pk}/")) == is_read
        addresses = [
            f"/admin/notifications/incident/{incident.pk}/{medium.pk}.svg",
            f"/alerts/{incident.pk}/{medium.pk}.svg",
        ]
        assert [client.get(one).status_code for one in addresses] == [200 if is_read else 404] * 2

    def test_stays_with_the_card_of_which_it_is(self, rule: AlertRule, corp: Corp) -> None:
        """Holds when the rule watches another card by now or is deleted. A deleted card's company is unknown."""
        check(rule, NOW, DATA)
        mark_drawn()
        other = DataSource.objects.create(name="他处", kind="sql", corp=make_corp())
        AlertRule.objects.update(card=Card.objects.create(name="他处", source=other, sql="SELECT 1"))
        client = client_of(make_manager(corp, permissions="incident"))

        assert len(pictures_on(client, self.path())) == 1
        rule.delete()
        assert len(pictures_on(client, self.path())) == 1
        Card.objects.all().delete()
        assert pictures_on(client, self.path()) == []


AT = datetime(2026, 11, 24, 9, tzinfo=ZoneInfo("Asia/Shanghai"))

CITIES = Table(
    (Column("城市", Kind.TEXT), Column("销售额", Kind.NUMBER, "元"), Column("备注", Kind.TEXT)),
    (("上海", 120, "a"), ("北京", 80, "b"), ("广州", None, "c")),
    AS_OF,
)


def plan_chart(text: str, table: Table = CITIES, split_column: str = "") -> tuple[Chart, Table] | None:
    [condition] = parse(text)
    rule = AlertRule(split_column=split_column, time_zone="Asia/Shanghai")
    found = charts.make_recipe(condition, table, rule=rule, at=AT, language="en")
    if found is None:
        return None
    title, recipe = found
    document = unpack_recipe(recipe)
    chart = definition.from_document(document["chart"])
    assert chart.title == title
    return chart, from_document(document["table"])


def chart_of(text: str, table: Table = CITIES, split_column: str = "") -> Chart:
    found = plan_chart(text, table, split_column)
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("text", "together", "lines"),
    [
        ("any 销售额 > 1,000,000", "maximum", (1_000_000.0,)),
        ("any 销售额 <= 5", "minimum", (5.0,)),
        ("all 销售额 > 5", "minimum", (5.0,)),
        ("all 销售额 < 5", "maximum", (5.0,)),
        ("avg 销售额 outside 1 and 2", "average", (1.0, 2.0)),
        ("min 销售额 between 1 and 2", "minimum", (1.0, 2.0)),
        ("max 销售额 = 7", "maximum", (7.0,)),
        ("max 销售额 changed", "maximum", ()),
        ("sum 销售额 < 100", "sum", ()),
        ("change 销售额 < -30", "sum", ()),
    ],
)
def test_several_rows_at_a_place_are_on_the_side_of_the_line_that_the_condition_means(
    text: str, together: str, lines: tuple[float, ...]
) -> None:
    chart = chart_of(text, SALES)
    assert (chart.kind, chart.x, chart.y) == ("bar", "城市", ("销售额",))
    assert (chart.aggregate, chart.thresholds) == (together, lines)


def test_times_make_a_line_and_a_single_time_does_not() -> None:
    over_time = chart_of("any 销售额 < 5", DAYS)
    today = Table(
        (Column("日期", Kind.DATE), *SALES.columns), tuple((DAYS.rows[0][0], *row) for row in SALES.rows), AS_OF
    )

    assert (over_time.kind, over_time.x) == ("line", "日期")
    assert (chart_of("any 销售额 < 5", today).kind, chart_of("any 销售额 < 5", today).x) == ("bar", "城市")
    assert chart_of("any 销售额 < 5", today, "城市").x == "产品线"


def test_names_that_tell_rows_apart_and_have_room_stand_along_the_axis() -> None:
    columns = (*(Column(name, Kind.TEXT) for name in ("区域", "门店", "订单")), Column("销售额", Kind.NUMBER))
    orders = Table(columns, tuple((f"区{n % 2}", f"店{n % 9}", f"单{n}", n) for n in range(50)), AS_OF)

    assert chart_of("any 销售额 < 5", orders).x == "门店"
    assert chart_of("any 销售额 < 5", Table(columns[2:], tuple(row[2:] for row in orders.rows), AS_OF)).x == "订单"


def test_only_rows_that_count_are_drawn() -> None:
    found = plan_chart("any 销售额 < 5 where 城市=上海|北京")
    assert found is not None
    # The drawing does not need 备注.
    assert (found[1].rows, found[1].names) == ((("上海", 120), ("北京", 80)), ("城市", "销售额"))


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("count = 0", CITIES),
        ("count 城市 > 3", CITIES),
        ("any 备注 = a", CITIES),
        ("any 销售额 < 5 where 城市=重庆", CITIES),
        ("any 销售额 = 没有 where 城市=广州", CITIES),  # not a single value, so it was not checked to be a number
        ("any 销售额 = 5", SALES),  # several rows of a city, and neither the largest nor the smallest shows it
        ("any 成本 > 5", Table(DAYS.columns[1:], tuple(row[1:] for row in DAYS.rows), AS_OF)),  # no column for the axis
    ],
)
def test_there_is_none_that_would_say_nothing_or_something_wrong(text: str, table: Table) -> None:
    assert plan_chart(text, table) is None


@pytest.mark.parametrize(
    ("text", "table", "axis", "figure"),
    [("any 销售额 > 2000000", DAYS, "y", "200.0万"), ("any 销售额 outside -5 and 20000000", CITIES, "x", "2000.0万")],
)
def test_lines_cross_the_drawing_at_their_values(text: str, table: Table, axis: str, figure: str) -> None:
    chart = chart_of(text, table)

    lines = build_spec(chart, table)["layer"][1]

    assert [row["y"] for row in lines["data"]["values"]] == list(chart.thresholds)
    assert (lines["data"]["values"][-1]["t"], lines["encoding"][axis]["field"]) == (figure, "y")
    low, high = lines["encoding"][axis].get("scale", {}).get("domain", (-6, 2e9))
    assert low < -5 < 20_000_000 < high


@pytest.mark.parametrize(("against", "count"), [("day", 31), ("week", 31), ("year", 400)])
def test_a_fall_is_drawn_over_the_days_in_which_it_can_be_seen(against: str, count: int) -> None:
    days = [date(2026, 11, 28) - timedelta(days=number) for number in range(500)]
    table = Table((Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)), tuple((day, 1) for day in days), AS_OF)
    found = plan_chart(f"sum 销售额 fell 20 % {against}", table)
    assert found is not None
    assert set(found[1].list_values("日期")) == set(days[:count])
