"""Runs with pictures and files to be made, for the tests."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.utils import translation

from integrations.models import Corp
from notifications.charts import theme
from notifications.charts.definition import Chart
from notifications.delivery.attachments import recipes
from notifications.delivery.rendering import attachments, freeze, message_builder
from notifications.models import Attachment, Channel, Delivery, Medium, MessageForm, Robot, Run, new_mark
from notifications.sources import CardContent, Content, Figure
from tests.notifications.charts.tables import CHARTS
from tests.notifications.factories import NOW

CHART, TABLE = CHARTS["bar"]
CONTENT = Content(
    title="销售日报",
    text="今天的销售额。",
    cards=(CardContent("sales", "销售明细", TABLE),),
    figures=(Figure("销售额", "123.4万元 ↑5.0%"), Figure("成本", "80万元")),
)


def make_run(**fields: Any) -> Run:
    defaults = {
        "key": f"manual:{new_mark()}",
        "trigger": Run.Trigger.MANUAL,
        "slot_at": NOW,
        "claimed_at": NOW,
        "render_after": NOW,
        "status": Run.Status.SENDING,
        "recipient_count": 2,
    }
    return Run.objects.create(**{**defaults, **fields})


def planned(
    form: MessageForm, channel: str = Channel.WECOM, content: Content = CONTENT, chart: Chart = CHART
) -> attachments.Plan:
    return attachments.plan(form, channel, content, [("sales", chart)], language="zh-hans")


def make_delivery(
    corp: Corp,
    form: MessageForm,
    *,
    run: Run | None = None,
    channel: str = Channel.WECOM,
    robot: Robot | None = None,
    content: Content = CONTENT,
    chart: Chart = CHART,
    **fields: Any,
) -> Delivery:
    """One that waits for its picture or file, as freezing writes it."""
    run = run or make_run()
    with translation.override("zh-hans"):
        found = freeze.freeze(
            Delivery(
                run=run,
                corp=corp,
                channel=channel,
                robot=robot,
                message_form=form,
                created_at=NOW,
                title=content.title,
                text=content.text,
                corpid=corp.corpid,
                agentid=corp.agentid,
                mark=new_mark(),
                language="zh-hans",
                recipient_count=2,
                next_attempt_at=NOW,
                expires_at=NOW + timedelta(hours=24),
                **fields,
            ),
            planned(form, channel, content, chart),
            lambda form, words: _body(channel, form, words, corp),
            message_builder.Words(content.title, content.text, "https://site.example.test/m/x/", content.figures),
            lambda path: f"https://site.example.test{path}",
            now=NOW,
        )
    found.delivery.save(force_insert=True)
    Attachment.objects.bulk_create(found.attachments())
    return found.delivery


def _body(channel: str, form: MessageForm, words: message_builder.Words, corp: Corp) -> bytes:
    match channel:
        case Channel.ROBOT:
            return message_builder.robot_body(form, words)
        case Channel.EMAIL:
            return message_builder.mail_body(words, sender="a@example.test", to="b@example.test", message_id="<x@y>")
        case _:
            return message_builder.body(form, words, agentid=corp.agentid, userids=["LiLei", "HanMei"])


def body_of(delivery: Delivery) -> dict[str, Any]:
    delivery.refresh_from_db(fields=["body"])
    return dict(json.loads(bytes(delivery.body)))


def make_medium(run: Run, **fields: Any) -> Medium:
    recipe = recipes.picture(CHART, TABLE, shape=theme.Shape.FREE, language="zh-hans")
    defaults = {
        "run": run,
        "kind": Medium.Kind.PICTURE,
        "digest": recipes.digest("picture", recipe + new_mark().encode()),
        "recipe": recipe,
        "created_at": NOW,
        "make_after": NOW,
    }
    return Medium.objects.create(**{**defaults, **fields})
