"""A run of a report with cards waits for its data, and renders it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from integrations.data.table import Column, Kind, Table
from integrations.datasources import fetch
from integrations.models import BiConnection, CardData, Corp
from integrations.models.installation import SINGLETON_PK
from notifications import tasks
from notifications.delivery import maintenance
from notifications.delivery.attachments import produce_medium
from notifications.delivery.rendering import render, report_contents
from notifications.delivery.rendering.render import render_run
from notifications.delivery.rows import RENDER_LEASE
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import (
    Channel,
    Delivery,
    FrozenContent,
    IfStale,
    Medium,
    MessageForm,
    Receipt,
    Report,
    Robot,
    Run,
    Subscription,
)
from notifications.reports.contents import load_content
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_people,
    make_person,
    make_report,
    make_run,
    make_subscription,
)
from tests.notifications.reports.places import answer, card_of, make_card, make_data_report, make_region, place, split
from tests.notifications.reports.tables import sales

pytestmark = pytest.mark.django_db
COLUMN_GONE = "数据与正文不符：没有“没有”这一列。现有：日期, 区域, 销售额。请在推送页面重新选择该列。"


def ordered(report: Report, *people: User, render_after: datetime = NOW, **fields: Any) -> Run:
    return make_run(make_subscription(*people, report=report, **fields), render_after=render_after)


def rendered(report: Report, *people: User, table: Table | None = None, **fields: Any) -> Run:
    answer(report, table)
    run = ordered(report, *people, **fields)
    render_run(run_id=run.pk, now=NOW)
    run.refresh_from_db()
    return run


def status_of(run: Run) -> str:
    run.refresh_from_db()
    return str(run.status)


def texts() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("text", flat=True))


class TestWaiting:
    def test_asks_for_data_and_waits_until_somebody_or_the_sweep_finds_it(self, corp: Corp) -> None:
        report = make_data_report()
        run = ordered(report, make_person(corp, "li"))

        assert render_run(run_id=run.pk, now=NOW) == []

        assert status_of(run) == Run.Status.WAITING
        assert (run.render_count, run.render_after) == (0, NOW + render.RECHECK_AFTER)
        row = CardData.objects.get()
        assert (row.card, row.slot_at, row.status) == (card_of(report), run.slot_at, CardData.Status.WAITING)
        assert not Delivery.objects.exists()
        answer(report)  # the notice that it is there is lost
        assert maintenance.sweep_deliveries(now=NOW + render.RECHECK_AFTER - timedelta(seconds=1)) == []
        assert maintenance.sweep_deliveries(now=NOW + render.RECHECK_AFTER) == [run.pk]

    def test_is_rendered_once_all_data_is_there(self, corp: Corp) -> None:
        report = make_data_report(body="{{ sales.count }} {{ more.count }}")
        report.report_cards.create(card=make_card(), alias="more", position=1)
        run = ordered(report, make_person(corp, "li"))
        answer(report)
        CardData.objects.filter(card=report.report_cards.get(alias="more").card).delete()
        assert render_run(run_id=run.pk, now=NOW) == []

        answer(report)
        [pk] = render_run(run_id=run.pk, now=NOW)

        delivery = Delivery.objects.get(pk=pk)
        assert (delivery.title, delivery.text) == ("11月23日销售", "8 8")
        assert json.loads(bytes(delivery.body))["textcard"]["description"] == "8 8"
        assert status_of(run) == Run.Status.SENDING
        assert len(run.fingerprint) == 64
        assert render_run(run_id=run.pk, now=NOW) == []

    def test_whoever_fetched_hands_the_runs_out(self, corp: Corp, monkeypatch: pytest.MonkeyPatch) -> None:
        handed: list[int] = []
        monkeypatch.setattr(
            tasks.render_runs, "apply_async", lambda arguments, _named, **_queue: handed.extend(*arguments)
        )
        report, person = make_data_report(), make_person(corp, "li")
        mine, other_slot = ordered(report, person), ordered(report, person)
        Run.objects.filter(pk=other_slot.pk).update(slot_at=NOW - timedelta(hours=1))
        ordered(make_data_report(), person)
        done = ordered(report, person)
        Run.objects.filter(pk=done.pk).update(status=Run.Status.FINISHED)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("django.db.transaction.on_commit", lambda function, **_robust: function())
            tasks.enqueue_waiting_runs(card_of(report).pk, NOW)

        assert handed == [mine.pk]

    def test_a_worker_that_is_killed_costs_less_than_a_minute(self, corp: Corp) -> None:
        """Loses first the run's rendering and then the fetch of its card."""
        report = make_data_report()
        run = ordered(report, make_person(corp, "li"), render_after=NOW + RENDER_LEASE)
        entries = settings.CELERY_BEAT_SCHEDULE
        ticks = timedelta(seconds=sum(entries[f"{app}.tick"]["schedule"] for app in ("integrations", "notifications")))

        assert maintenance.sweep_deliveries(now=NOW + RENDER_LEASE) == [run.pk]
        render_run(run_id=run.pk, now=NOW + RENDER_LEASE)
        row = CardData.objects.get()
        assert fetch._claim(row.pk, NOW + RENDER_LEASE) is not None
        later = NOW + RENDER_LEASE + fetch.LEASE

        assert list(CardData.objects.due(later)) == [row]
        assert later + ticks < NOW + timedelta(seconds=60)

    def test_messages_that_take_long_to_plan_are_planned_by_one_worker_unless_it_hangs(
        self, corp: Corp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        li, at_most = make_person(corp, "li"), render.RENEWED_AT_MOST.total_seconds()
        clock, swept = list[float](), list[list[int]]()

        @contextmanager
        def renewing(renew: Callable[[], None]) -> Iterator[None]:
            """Renew the lease once, when it would just have ended."""
            renew()
            swept.append(maintenance.sweep_deliveries(now=NOW + RENDER_LEASE + timedelta(seconds=1)))
            yield

        monkeypatch.setattr(render, "keep_lease", renewing)
        monkeypatch.setattr(render, "read_boot_clock", lambda: clock.pop(0))

        for passed, is_kept in ((at_most - 1, True), (at_most, False)):
            run = ordered(make_report(), li)
            clock += [0.0, passed]
            render_run(run_id=run.pk, now=NOW)
            assert swept.pop() == ([] if is_kept else [run.pk])

    def test_failed_data_fails_the_run_with_its_sentence_and_the_owner_is_told(self, corp: Corp) -> None:
        report, owner = make_data_report(), make_person(corp, "owner")
        run = ordered(report, make_person(corp, "li"), owner=owner)
        render_run(run_id=run.pk, now=NOW)
        CardData.objects.update(status=CardData.Status.FAILED, finished_at=NOW, problem_code="source_off")

        assert render_run(run_id=run.pk, now=NOW) == []

        assert status_of(run) == Run.Status.FAILED
        assert run.error_text == f"没有取到“{card_of(report)}”的数据：{CardData.objects.get().problem}"
        [notice] = request_owner_notices(now=NOW)
        [pk] = render_run(run_id=notice, now=NOW)
        assert run.error_text in Delivery.objects.get(pk=pk).text

    def test_data_that_never_comes_ends_the_run_and_of_a_column_that_is_gone_the_data_is_said(self, corp: Corp) -> None:
        run = ordered(make_data_report(), make_person(corp, "li"))
        render_run(run_id=run.pk, now=NOW)
        render_run(run_id=run.pk, now=NOW + report_contents.WAIT_AT_MOST + timedelta(seconds=1))
        assert status_of(run) == Run.Status.FAILED

        run = rendered(make_data_report(body="好\n{{ sales.sum('没有') }}"), make_person(corp, "wang"))
        assert (run.status, run.error_text) == (Run.Status.FAILED, COLUMN_GONE)


class TestWithoutCards:
    @pytest.mark.parametrize(
        ("report", "words"),
        [
            ({"title": "{{ 日报 }}", "body": "{% if %} {{ nope }} {# #}"}, ("{{ 日报 }}", "{% if %} {{ nope }} {# #}")),
            (
                {"title": "{{ today }}", "body": "{{ 昨天|日期('M月D日') }}", "is_template": True},
                ("2026-11-24", "11月23日"),
            ),
        ],
        ids=["a plain report keeps its braces", "a template knows the time"],
    )
    def test_words_of_a_report(self, corp: Corp, report: dict[str, Any], words: tuple[str, str]) -> None:
        [pk] = render_run(run_id=ordered(make_report(**report), make_person(corp, "li")).pk, now=NOW)

        delivery = Delivery.objects.get(pk=pk)
        assert (delivery.title, delivery.text, delivery.content) == (*words, None)


class TestOwnRows:
    def test_each_gets_their_rows_and_equal_slices_share_a_call(self, corp: Corp) -> None:
        report, region = make_data_report(), make_region()
        split(report, region)
        people = [make_person(corp, name) for name in ("a", "b", "c")]
        for person, value in zip(people, ["华东", "华南", " 华东 "], strict=True):
            place(person, region, value)
        answer(report)

        ids = render_run(run_id=ordered(report, *people).pk, now=NOW)

        assert len(ids) == 2
        assert texts() == ["合计 10,000 元，4 行", "合计 10,040 元，4 行"]
        assert [
            list(delivery.receipts.order_by("pk").values_list("user", flat=True))
            for delivery in Delivery.objects.order_by("pk")
        ] == [[people[0].pk, people[2].pk], [people[1].pk]]
        assert [
            set(load_content(bytes(content.document)).tables["sales"].list_values("区域"))
            for content in FrozenContent.objects.order_by("pk")
        ] == [{"华东"}, {"华南"}]

    def test_whoever_sees_no_rows_is_skipped_with_the_reason(self, corp: Corp) -> None:
        report, region = make_data_report(), make_region()
        split(report, region)
        without, foreign, seeing = (make_person(corp, name) for name in ("a", "b", "c"))
        place(foreign, region, "西北")
        place(seeing, region, "华南")

        run = rendered(report, without, foreign, seeing)

        skipped = Receipt.objects.filter(status=Receipt.Status.SKIPPED).order_by("user")
        assert [(one.user, one.reason, one.delivery) for one in skipped] == [
            (without, "no_value", None),
            (foreign, "no_rows", None),
        ]
        assert [one.reason_text for one in skipped] == ["此人的属性为空：区域", "没有此人的数据行"]
        assert (run.recipient_count, run.skipped_count) == (1, 2)

    def test_where_it_is_so_chosen_they_get_the_empty_report(self, corp: Corp) -> None:
        report = make_data_report(skips_people_without_rows=False)
        split(report, make_region())

        rendered(report, make_person(corp, "a"))

        assert texts() == ["合计 — 元，0 行"]

    @pytest.mark.parametrize("form", [MessageForm.TEXTCARD, MessageForm.NEWS, MessageForm.XLSX, MessageForm.CSV])
    def test_a_text_that_is_empty_for_one_falls_back_to_the_title(self, corp: Corp, form: MessageForm) -> None:
        ranking = "{% for row in sales.rows %}{{ row.区域 }} {% endfor %}"
        report, region = make_data_report(title="排名", body=ranking, skips_people_without_rows=False), make_region()
        split(report, region)
        without, seeing = make_person(corp, "a"), make_person(corp, "b")
        place(seeing, region, "华南")

        rendered(report, without, seeing, message_form=form)

        assert texts() == ["", "华南 华南 华南 华南"]
        first = Delivery.objects.order_by("pk").first()
        assert first is not None
        plain = first.plain_body or first.body
        said = "（文件未能生成。）" if first.plain_body else "排名"
        assert json.loads(bytes(plain))["textcard"]["description"] == said

    def test_a_title_that_is_empty_for_one_is_the_first_line_of_the_text(self, corp: Corp) -> None:
        title, body = "{% if sales.count %}有{% endif %}", "共 {{ sales.count }} 行\n-"
        report = make_data_report(title=title, body=body, skips_people_without_rows=False)
        split(report, make_region())

        rendered(report, make_person(corp, "a"))

        assert list(Delivery.objects.values_list("title", "text")) == [("共 0 行", "共 0 行\n-")]

    def test_whose_content_cannot_be_made_is_skipped_and_the_others_get_theirs(self, corp: Corp) -> None:
        body = "{% if sales.count > 4 %}{{ sales.sum('没有') }}{% endif %}好"
        report, region = make_data_report(body=body), make_region(is_many_valued=True)
        split(report, region)
        people = [make_person(corp, name) for name in ("a", "b", "c")]
        for person, values in zip(people, [["华东"], ["华东", "华南"], ["华南"]], strict=True):
            place(person, region, *values)

        run = rendered(report, *people)

        receipts = {one.user: one for one in Receipt.objects.filter(run=run)}
        assert [receipts[person].reason for person in people] == ["", "no_message", ""]
        assert receipts[people[1]].reason_text == f"此人的消息未能生成：{COLUMN_GONE}"
        assert (run.status, run.recipient_count, run.skipped_count) == (Run.Status.SENDING, 2, 1)
        Delivery.objects.update(status=Delivery.Status.ACCEPTED, settled_at=NOW)
        maintenance.sweep_deliveries(now=NOW)
        run.refresh_from_db()
        assert (run.status, run.error_text) == (Run.Status.FINISHED, "有 1 位接收人的消息未能生成：原因见送达明细。")

    def test_a_column_or_card_that_is_gone_fails_the_run_and_shows_nobody_anything(self, corp: Corp) -> None:
        report = make_data_report()
        report.body = "x"
        report.save()
        split(report, make_region(), column="大区")

        run = rendered(report, make_person(corp, "a"))

        assert run.status == Run.Status.FAILED
        assert run.error_text == "按人分行：数据“sales”没有“大区”这一列，因此没有人可以看到其中的行。"
        report.report_cards.update(alias="other")
        assert rendered(report, make_person(corp, "b")).status == Run.Status.FAILED
        assert not Delivery.objects.exists()

    def test_data_that_was_cut_fails_the_run_and_leaves_nobody_out(self, corp: Corp) -> None:
        """Rows beyond the limit may belong to people who would be told that they have none."""
        report, region, person = make_data_report(), make_region(), make_person(corp, "a")
        split(report, region)
        place(person, region, "西北")

        run = rendered(report, person, table=replace(sales(), is_cut=True))

        assert run.status == Run.Status.FAILED
        assert run.error_text.startswith("按人分行：数据“sales”只读取了前 8 行，会有人缺少自己的数据。")
        assert not Receipt.objects.exists()

    def test_those_of_a_slice_share_calls_in_a_constant_number_of_queries(
        self, corp: Corp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(render, "USERS_AT_MOST", 20)
        report, region = make_data_report(), make_region()
        split(report, region)
        people = make_people(corp, 50)
        for person in people:
            place(person, region, "华东")
        answer(report)
        run = ordered(report, *people)

        with CaptureQueriesContext(connection) as queries:
            render_run(run_id=run.pk, now=NOW)

        assert sorted(Delivery.objects.values_list("recipient_count", flat=True)) == [10, 20, 20]
        assert FrozenContent.objects.count() == 1
        assert len(queries) < 40

    def test_a_robot_gets_no_own_rows(self, corp: Corp) -> None:
        report = make_data_report()
        split(report, make_region())
        answer(report)
        robot = Robot.objects.create(name="销售群", corp=corp, key="robot-key-1")
        run = make_run(make_subscription(report=report, channel=Channel.ROBOT, robot=robot))

        render_run(run_id=run.pk, now=NOW)

        assert status_of(run) == Run.Status.FAILED

    def test_a_mail_in_place_of_a_refused_message_has_the_same_rows(self, corp: Corp) -> None:
        report, region = make_data_report(), make_region()
        split(report, region)
        people = [make_person(corp, name, email=f"{name}@example.test") for name in ("a", "b")]
        for person, value in zip(people, ["华东", "华南"], strict=True):
            place(person, region, value)

        rendered(report, *people, fallback_channel=Channel.EMAIL)
        Delivery.objects.update(status=Delivery.Status.ACCEPTED, settled_at=NOW)
        Receipt.objects.filter(user=people[1]).update(status=Receipt.Status.INVALID)

        maintenance.sweep_deliveries(now=NOW)

        mail = Delivery.objects.get(channel=Channel.EMAIL)
        assert mail.text == "合计 10,040 元，4 行"
        assert mail.content == FrozenContent.objects.order_by("pk").last()
        assert mail.receipts.get().user == people[1]


class TestSkipping:
    def again(self, subscription: Subscription, trigger: str = Run.Trigger.SCHEDULE, **table: Any) -> Run:
        """Render the subscription's next run, an hour later, over this data."""
        slot_at = NOW + timedelta(hours=Run.objects.count())
        run = make_run(subscription, slot_at=slot_at, trigger=trigger)
        answer(subscription.report, sales(**{"as_of": slot_at, **table}), slot_at=slot_at)
        render_run(run_id=run.pk, now=slot_at)
        run.refresh_from_db()
        return run

    def subscribed(self, corp: Corp, **fields: Any) -> Subscription:
        return make_subscription(make_person(corp, "a"), report=make_data_report(), **fields)

    def test_empty_data_is_not_sent_and_is_no_failure(self, corp: Corp) -> None:
        subscription = self.subscribed(corp, skips_empty=True, owner=make_person(corp, "o"))

        run = self.again(subscription, days=0)

        assert run.status == Run.Status.SKIPPED
        assert run.finished_at is not None
        assert not Delivery.objects.exists()
        assert request_owner_notices(now=NOW) == []
        assert not Run.objects.under_way().exists()

    def test_unchanged_data_is_not_sent_again(self, corp: Corp) -> None:
        subscription = self.subscribed(corp, skips_unchanged=True)

        statuses = [self.again(subscription, days=days).status for days in (2, 2, 2, 3, 2)]

        sent, skipped = Run.Status.SENDING, Run.Status.SKIPPED
        assert statuses == [sent, skipped, skipped, sent, sent]

    @pytest.mark.parametrize(
        ("other", "fields", "status"),
        [
            ("accepted", {"status": "canceled"}, Run.Status.SENDING),
            ("accepted", {"status": "failed"}, Run.Status.SENDING),
            ("failed", {"status": "failed"}, Run.Status.SENDING),
            ("accepted", {"status": "failed", "invalid_count": 1}, Run.Status.SKIPPED),
            ("accepted", {"status": "unknown"}, Run.Status.SKIPPED),
        ],
    )
    def test_a_message_that_reached_nobody_or_only_some_is_sent_again(
        self, other: str, fields: dict[str, Any], status: str, corp: Corp
    ) -> None:
        subscription = self.subscribed(corp, skips_unchanged=True)
        subscription.users.add(make_person(make_corp(), "far"))
        self.again(subscription)
        first, second = Delivery.objects.order_by("pk")
        Delivery.objects.filter(pk=first.pk).update(status=other)
        Delivery.objects.filter(pk=second.pk).update(**fields)

        assert self.again(subscription).status == status

    def test_who_asks_by_hand_gets_it(self, corp: Corp) -> None:
        subscription = self.subscribed(corp, skips_empty=True, skips_unchanged=True)

        for trigger in (Run.Trigger.MANUAL, Run.Trigger.MANUAL):
            assert self.again(subscription, trigger, days=0).status == Run.Status.SENDING

    @pytest.mark.parametrize(
        ("as_of", "shown"),
        [
            (NOW - timedelta(minutes=90), "2026-11-24 07:30:30"),
            (datetime(2026, 11, 24, tzinfo=ZoneInfo("Asia/Shanghai")), "2026-11-23"),  # a date
        ],
    )
    def test_stale_data_is_not_sent_or_with_a_note(self, corp: Corp, as_of: datetime, shown: str) -> None:
        subscription = self.subscribed(corp, stale_after_minutes=60, if_stale=IfStale.SKIP)

        run = self.again(subscription, as_of=as_of)

        assert (run.status, run.error_text) == (Run.Status.SKIPPED, f"未发送：数据截至 {shown}，已过期。")
        Subscription.objects.update(if_stale=IfStale.NOTE)
        subscription.refresh_from_db()
        self.again(subscription, as_of=as_of)
        assert texts()[0].splitlines()[0] == f"数据已过期：截至 {shown}。"


def test_a_message_over_data_that_was_cut_says_so(corp: Corp) -> None:
    report = make_data_report()

    rendered(report, make_person(corp, "a"), table=replace(sales(), is_cut=True))

    assert texts() == ["数据不完整：“各区域销售”只读取了前 8 行。\n合计 20,040 元，8 行"]


def test_files_and_charts_have_the_times_of_the_subscriptions_zone(corp: Corp) -> None:
    at = Table((Column("时刻", Kind.DATETIME),), ((datetime(2026, 11, 24, 1, tzinfo=UTC),),), NOW)
    report = make_data_report(body="x")
    answer(report, at)
    for zone in ("Asia/Shanghai", "America/New_York"):
        person = make_person(corp, zone)
        run = ordered(report, person, message_form=MessageForm.CSV, time_zone=zone)
        render_run(run_id=run.pk, now=NOW)

    for medium in Medium.objects.all():
        produce_medium(medium.pk, clock=lambda: NOW)

    contents = Medium.objects.order_by("pk").values_list("content", flat=True)
    written = [bytes(content).decode("utf-8-sig") for content in contents]
    assert [text.split()[1:] for text in written] == [["2026-11-24", "09:00:00"], ["2026-11-23", "20:00:00"]]


def test_leads_to_the_page_of_the_card_in_the_bi_where_the_report_names_no_other(corp: Corp) -> None:
    BiConnection.objects.create(pk=SINGLETON_PK, is_enabled=True, base_url="https://bi.example.test")
    linked, own = (
        make_data_report(card=make_card(bi_page_id="weather", name=name), link=link)
        for name, link in (("A", ""), ("B", "/elsewhere"))
    )
    for report in (linked, own):
        rendered(report, make_person(corp, f"p{report.pk}"))

    assert list(Delivery.objects.order_by("pk").values_list("link", flat=True)) == ["/bi/page/weather", "/elsewhere"]


def test_times_in_messages_are_those_of_the_subscriptions_zone(corp: Corp) -> None:
    columns = (Column("时刻", Kind.DATETIME), Column("值", Kind.NUMBER))
    at = Table(columns, ((datetime(2026, 11, 24, 0, 30, tzinfo=UTC), 1),), NOW)
    body = (
        "{{ sales.value('时刻') }} {{ sales.max('时刻') }} {{ sales.latest() }}"
        "{% for row in sales.rows %} {{ row.时刻 }}{% endfor %}"
    )
    report = make_data_report(body=body)

    rendered(report, make_person(corp, "a"), time_zone="America/New_York", table=at)

    moment = "2026-11-23 19:30"
    assert texts() == [f"{moment} {moment} 2026-11-23 {moment}"]
