"""Plans the pictures and files of a message: which are to be made, from which recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from integrations.clients.snapshots import Kind
from notifications.charts import drawing
from notifications.charts.definition import Chart
from notifications.delivery.attachments import jobs, recipes
from notifications.delivery.attachments.spreadsheets import file_name
from notifications.models import Channel, MakerQueue, Medium, MessageForm
from notifications.sources import Content, PageView, ReadyMedium

PICTURE_FORMS = frozenset({MessageForm.NEWS, MessageForm.IMAGE, MessageForm.NEWS_NOTICE})
FILE_FORMS = frozenset({MessageForm.XLSX, MessageForm.CSV})
MEDIA_FORMS = PICTURE_FORMS | FILE_FORMS | {MessageForm.FILE}
# Half of the time for which it is kept: nobody gets one that is forgotten before it is looked at.
PREVIEW_SHARED = jobs.PREVIEW_KEPT / 2
_SHAPES = {
    MessageForm.NEWS: drawing.Shape.NEWS,
    MessageForm.NEWS_NOTICE: drawing.Shape.CARD,
    MessageForm.IMAGE: drawing.Shape.FREE,
}
# Width by height of what stands above the words, as WeCom shows it.
_COVERS = {MessageForm.NEWS: 1068 / 455, MessageForm.NEWS_NOTICE: drawing.CARD_RATIO}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A medium that is to be made. `alias`: the report's card of which it is; `medium_id`: of one that is there.
    `name`, `content_type`: of a file with a name of its own; `queue`: whose workers make it."""

    kind: Medium.Kind
    recipe: bytes
    title: str
    alias: str = ""
    medium_id: int | None = None
    name: str = ""
    content_type: str = ""
    queue: MakerQueue = MakerQueue.CHARTS


@dataclass(frozen=True, slots=True)
class Plan:
    """What a content needs made: `carried` by the message itself, and what its page shows."""

    carried: Wanted | None = None
    shown: tuple[Wanted, ...] = ()


NOTHING = Plan()


def plan(
    form: MessageForm,
    channel: str,
    content: Content,
    charts: Sequence[tuple[str, Chart]],
    *,
    language: str,
    time_zone: str = "",
) -> Plan:
    """`charts`: of the report, each with the alias of its card. `time_zone`: of the times in them; the site's where it
    is not given. Costs time for large tables: outside a transaction.

    A chart of a card that the content does not have is left out.
    """
    if content.media:
        return _ready(form, content.media)
    tables = content.tables
    titles = {card.alias: card.title for card in content.cards}
    drawable = [(alias, chart) for alias, chart in charts if alias in tables]
    shown = [
        Wanted(
            Medium.Kind.PICTURE,
            recipes.picture(chart, tables[alias], shape=drawing.Shape.FREE, language=language, time_zone=time_zone),
            chart.title or titles[alias],
            alias,
        )
        for alias, chart in drawable
    ]
    if content.page is not None:
        page = wanted_page(form, content.page)
        shown.insert(0, page)
        if form in PICTURE_FORMS or form == MessageForm.FILE:
            return Plan(page, tuple(shown))
    carried = None
    if form in PICTURE_FORMS and drawable:
        alias, chart = drawable[0]
        # A mail has all the room that a picture wants.
        shape = drawing.Shape.FREE if channel == Channel.EMAIL else _SHAPES[form]
        recipe = recipes.picture(chart, tables[alias], shape=shape, language=language, time_zone=time_zone)
        carried = Wanted(Medium.Kind.PICTURE, recipe, chart.title or titles[alias], alias)
    elif form in FILE_FORMS and content.cards:
        kind = Medium.Kind(form.value)
        sheets = [(card.title, card.table) for card in content.cards]
        sheets = sheets if kind == Medium.Kind.XLSX else sheets[:1]
        carried = Wanted(kind, recipes.file(sheets, language=language, time_zone=time_zone), "")
        shown.append(carried)
    return Plan(carried, tuple(shown))


def wanted_page(form: MessageForm, page: PageView) -> Wanted:
    """Its picture, with the cover of a message that has one above its words; or its PDF."""
    is_pdf = form == MessageForm.FILE
    options = replace(page.options, kind=Kind.PDF if is_pdf else Kind.PICTURE, cover_ratio=_COVERS.get(form, 0.0))
    return Wanted(
        Medium.Kind.FILE if is_pdf else Medium.Kind.PICTURE,
        recipes.page(page.path, page.identity, options),
        page.name,
        name=file_name(page.name, page.slot_at, "pdf" if is_pdf else "png"),
        content_type="application/pdf" if is_pdf else "image/png",
        queue=MakerQueue.SNAPSHOTS,
    )


def _ready(form: MessageForm, media: Sequence[ReadyMedium]) -> Plan:
    """What came with a message: all of it on its page, and the first that fits in a form that carries something."""
    shown = tuple(Wanted(one.kind, b"", one.name, medium_id=one.medium_id) for one in media)
    wanted = Medium.Kind.PICTURE if form in PICTURE_FORMS else Medium.Kind.FILE if form == MessageForm.FILE else None
    return Plan(next((one for one in shown if one.kind == wanted), None), shown)


def preview(wanted: Wanted, *, now: datetime) -> Medium:
    """A medium that belongs to no run, for whoever looks at a form; asked for again soon, it is the same, unless it
    could not be made."""
    digest = recipes.digest(wanted.kind, wanted.recipe)
    same = Medium.objects.previews().filter(digest=digest, created_at__gt=now - PREVIEW_SHARED)
    known = same.exclude(status=Medium.Status.FAILED).order_by("-pk").first()
    if known is not None:
        return known
    return Medium.objects.create(digest=digest, created_at=now, make_after=now, **row_of(wanted))


def row_of(wanted: Wanted) -> dict[str, Any]:
    """The columns of its medium that say what is to be made."""
    names = ("kind", "recipe", "name", "content_type", "queue")
    return {name: getattr(wanted, name) for name in names}
