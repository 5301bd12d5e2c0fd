"""The preview of a draft has the bytes that a run of the same rows freezes, and writes nothing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import translation

from accounts.models import User
from integrations.models import Card, Corp, DataSource
from notifications.alerts import notify, trial
from notifications.delivery.rendering.preview import RenderedPreview, preview_message
from notifications.delivery.rendering.render import render_run
from notifications.delivery.rendering.report_contents import ReportParts, SubscriptionSource, read_saved_parts
from notifications.models import (
    REPORT_FORMS,
    Channel,
    Delivery,
    MessageForm,
    OwnRowsRule,
    Report,
    ReportChart,
    Robot,
    Run,
    Subscription,
)
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import find_recipients, make_trial_audience
from tests.notifications.alerts.rules import check, make_rule, table
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription
from tests.notifications.reports.places import answer, make_data_report, make_region, place, split

pytestmark = pytest.mark.django_db
# The mark of a message and the address of its picture differ in every message.
_OWN = re.compile(rb"[0-9a-f]{32}|/p/[^\"]*\.png")


@contextmanager
def only_reading() -> Iterator[None]:
    """Open a transaction in which PostgreSQL refuses to write."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        yield
        transaction.set_rollback(True)


def make_push(form: str, channel: str, corp: Corp, *, has_own_rows: bool, is_of_corp: bool) -> Subscription:
    """Create a push of a report with a figure, a chart and a long text, with all data fetched."""
    person = make_person(corp, "li", email="li@example.test")
    place(person, region := make_region(), "华东")
    report = make_data_report(corp=corp if is_of_corp else None, figures="合计: {{ sales.sum('销售额') }}")
    report.body += "<b>{{ sales.value('区域') }}</b>" * 40
    report.save()
    ReportChart.objects.create(report=report, alias="sales", kind="bar", x="区域", y="销售额", title="图")
    if has_own_rows:
        split(report, region)
    answer(report)
    robot = Robot.objects.create(name="群", corp=corp, key="k") if channel == Channel.ROBOT else None
    return make_subscription(person, report=report, message_form=form, channel=channel, robot=robot)


def draft_of(push: Subscription, tables: dict[str, Any]) -> tuple[SubscriptionSource, Run]:
    """Return the push as a page previews it: built from unsaved rows."""
    saved = read_saved_parts(push.report)

    def unsaved(model: Any, row: Any) -> Any:
        names = [field.attname for field in model._meta.concrete_fields if field.attname not in {"id", "report_id"}]
        return model(**{name: getattr(row, name) for name in names})

    parts = ReportParts(
        unsaved(Report, push.report),
        saved.cards,
        [unsaved(ReportChart, row) for row in saved.charts],
        [unsaved(OwnRowsRule, row) for row in saved.own_rows],
    )
    order = unsaved(Subscription, push)
    order.report = parts.report
    run = Run(subscription=order, trigger=Run.Trigger.SCHEDULE, slot_at=NOW)
    return SubscriptionSource(run, order, parts, tables), run


def preview(push: Subscription) -> RenderedPreview:
    source, run = draft_of(push, read_saved_parts(push.report).find_latest_tables())
    to: Any = push.robot
    if to is None:
        [to] = find_recipients(make_trial_audience(source.subscription, push.users.get().pk), None)
    with only_reading(), translation.override("en"):
        return preview_message(source, run, to, now=NOW)


FORMS = [form for form, _label in REPORT_FORMS if form != MessageForm.FILE]


@pytest.mark.parametrize(
    ("form", "channel", "has_own_rows", "is_of_corp"),
    [
        *((form, channel, channel != Channel.ROBOT, True) for channel in Channel for form in FORMS),
        *(("text", channel, False, False) for channel in Channel),
        ("text", Channel.ROBOT, True, True),
    ],
)
def test_the_preview_has_the_bytes_that_the_run_freezes(
    form: str, channel: str, has_own_rows: bool, is_of_corp: bool
) -> None:
    push = make_push(form, channel, make_corp(), has_own_rows=has_own_rows, is_of_corp=is_of_corp)
    run = make_run(push, trigger=Run.Trigger.SCHEDULE)

    if has_own_rows and channel == Channel.ROBOT:
        with translation.override("en"), pytest.raises(RenderingError, match="own rows cannot go to a robot"):
            preview(push)
        return
    found = preview(push).delivery
    render_run(run_id=run.pk, now=NOW)

    sent = Delivery.objects.get(run=run)
    assert found is not None
    for name in ("body", "plain_body"):
        assert _OWN.sub(b"", bytes(getattr(found, name))) == _OWN.sub(b"", bytes(getattr(sent, name)))
    for name in ("title", "text", "link", "status", "message_form", "language", "corp_id", "recipient_count"):
        assert getattr(found, name) == getattr(sent, name)


@pytest.mark.parametrize("form", [form for form, _label in REPORT_FORMS])
def test_what_is_cut_is_said(form: str) -> None:
    push = make_push(form, Channel.WECOM, make_corp(), has_own_rows=False, is_of_corp=True)
    push.report.title, push.report.body = "标题" * 100, "长" * 3000

    phone = preview(push).phone

    assert phone is not None
    has_words = phone.kind not in {"image", "file"}
    assert (phone.is_cut, phone.is_title_cut, "…" in f"{phone.content}{phone.paragraphs}") == (
        has_words,
        True,
        has_words,
    )


def test_own_rows_are_read_in_the_company_of_the_report() -> None:
    """People with accounts in two companies get the rows for the company of the report."""
    corp, other = make_corp(), make_corp()
    person = make_person(other, "east")
    person.wecom_accounts.create(corp=corp, userid="华东", is_primary=False)
    report = make_data_report(corp=corp)
    split(report, None, value="@userid")
    answer(report)
    push = make_subscription(person, report=report)

    content = preview(push).content

    assert content is not None
    assert [row[1] for row in content.tables["sales"].rows] == ["华东"] * 4


def test_whoever_gets_nothing_is_told_why_by_the_content() -> None:
    push = make_push("text", Channel.WECOM, make_corp(), has_own_rows=True, is_of_corp=True)
    User.objects.get(username=push.users.get().username).attribute_values.all().delete()
    Report.objects.update(skips_people_without_rows=True)
    push.report.refresh_from_db()

    found = preview(push)

    assert found.skip_reason is not None
    assert found.skip_reason.reason == "no_value"
    assert (found.delivery, found.phone) == (None, None)


def test_somebody_who_cannot_be_reached_sees_the_message_to_a_stand_in() -> None:
    push = make_push("text", Channel.WECOM, make_corp(), has_own_rows=False, is_of_corp=True)
    User.objects.update(is_active=False)

    found = preview(push)

    assert found.delivery is not None
    assert b'"touser": "preview"' in bytes(found.delivery.body).replace(b'":"', b'": "')


def test_what_a_run_refuses_a_preview_refuses() -> None:
    push = make_push("text", Channel.WECOM, make_corp(), has_own_rows=True, is_of_corp=True)
    source, run = draft_of(
        push, {"sales": replace(read_saved_parts(push.report).find_latest_tables()["sales"], is_cut=True)}
    )

    with pytest.raises(RenderingError):
        preview_message(source, run, None, now=NOW)
    ReportChart.objects.update(x="没有")
    push.report.refresh_from_db()
    with pytest.raises(RenderingError):
        preview(Subscription.objects.get())


@pytest.mark.parametrize(("trigger", "is_skipped"), [("schedule", True), ("manual", False)])
def test_a_draft_says_why_a_run_at_its_time_would_not_be_sent(trigger: str, is_skipped: bool) -> None:
    push = make_push("text", Channel.WECOM, make_corp(), has_own_rows=False, is_of_corp=True)
    push.skips_empty = True
    tables = read_saved_parts(push.report).find_latest_tables()
    source, run = draft_of(push, tables)
    run.trigger = trigger

    assert source.find_reason_to_skip(tables) is None
    assert bool(source.find_reason_to_skip({"sales": replace(tables["sales"], rows=())})) is is_skipped


@pytest.mark.parametrize("channel", [Channel.WECOM, Channel.ROBOT, Channel.EMAIL])
def test_the_message_of_a_rule_has_the_bytes_that_its_incidents_send(
    channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corp = make_corp(callback_verified_at=NOW)  # so that it has buttons
    person = make_person(corp, "li", email="li@example.test")
    robot = Robot.objects.create(name="群", corp=corp, key="k") if channel == Channel.ROBOT else None
    source = DataSource.objects.create(name="数仓", kind="sql", corp=corp)
    card = Card.objects.create(name="各城市销售额", source=source, sql="SELECT 1")
    to: dict[str, Any] = {"corp": corp, "channel": channel, "robot": robot}
    rule = make_rule(card, [person], "any 销售额 < 100", split_column="城市", **to)
    data = table(上海=90, 北京=80, 广州=120)
    monkeypatch.setattr(trial, "now", lambda: NOW)

    with only_reading(), translation.override("en"):
        [notice] = trial.try_rule(rule, data, language="en")["notices"]
        found = trial.preview_notice(rule, notice, person).delivery
    check(rule, NOW, data)
    [run_id] = notify.request_notices(now=NOW)
    render_run(run_id=run_id, now=NOW)

    sent = Delivery.objects.get()
    assert found is not None
    assert _OWN.sub(b"", bytes(found.body)) == _OWN.sub(b"", bytes(sent.body))
    assert (found.title, found.text, found.link) == (sent.title, sent.text, sent.link)
