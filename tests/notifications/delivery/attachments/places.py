"""Runs with pictures and files to be made, for the tests."""

import json
from dataclasses import replace
from typing import Any

from django.utils import translation

from integrations.data.table import Table
from integrations.models import Corp, SiteAddress
from notifications.charts import drawing
from notifications.charts.definition import Chart
from notifications.delivery.attachments import digest_recipe, make_picture_recipe, plan_attachments
from notifications.delivery.rendering import render
from notifications.delivery.rendering.preview import STAND_IN
from notifications.delivery.rendering.render import PlannedDelivery
from notifications.inbound.accept import MessageSource
from notifications.models import Channel, Delivery, IncomingMessage, Medium, MessageForm, Priority, Robot, Run, new_mark
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


def make_file_recipe(form: MessageForm, table: Table) -> bytes:
    """Return the recipe of the file that a message of this form carries."""
    content = Content("销售日报", "", cards=(CardContent("x", "x", table),))
    carried = plan_attachments(form, Channel.WECOM, content, (), language="zh-hans").carried
    assert carried is not None
    return carried.recipe


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
    """Create a message that waits for its picture or file, as freezing writes it."""
    run, people = run or make_run(), [] if robot else [replace(STAND_IN, userid=name) for name in ("LiLei", "HanMei")]
    media = plan_attachments(form, channel, content, [("sales", chart)], language="zh-hans")
    planned = PlannedDelivery(corp, people, content, media=media, channel=channel, robot=robot)
    source = MessageSource(run, IncomingMessage(form=form, priority=Priority.ORDINARY, lifetime_hours=24), None)
    with translation.override("zh-hans"):
        draft = render.draft_delivery(run, source, planned, NOW)
        address = SiteAddress(url="https://site.example.test/")
        delivery = render.build_delivery(draft, source, planned, address, now=NOW)
    for name, value in {"mark": new_mark(), **fields}.items():
        setattr(delivery, name, value)
    delivery.save(force_insert=True)
    return delivery


def body_of(delivery: Delivery) -> dict[str, Any]:
    delivery.refresh_from_db()
    return dict(json.loads(bytes(delivery.body)))


def make_medium(run: Run, **fields: Any) -> Medium:
    recipe = make_picture_recipe(CHART, TABLE, shape=drawing.Shape.FREE, language="zh-hans")
    defaults = {
        "run": run,
        "kind": Medium.Kind.PICTURE,
        "digest": digest_recipe("picture", recipe + new_mark().encode()),
        "recipe": recipe,
        "created_at": NOW,
        "make_after": NOW,
    }
    return Medium.objects.create(**{**defaults, **fields})
