"""Pictures and files of messages: planned, made once in separate workers, then uploaded per delivery, or linked.

If two workers make the same medium, the first to finish writes it; their bytes are equal. The medium's row counts the
tries, so that a medium whose making kills every worker is given up.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core import signing
from django.db.models import F, Q, QuerySet
from django.utils import timezone, translation

from accounts.users import bi_identity
from integrations import bi
from integrations.bi import CannotEnter
from integrations.clients.snapshots import Format, PictureOptions, PictureProblem, SnapshotError, Theme, Width
from integrations.core.background import Clock
from integrations.core.heartbeats import is_served
from integrations.core.sentences import Sentence, SentenceError
from integrations.data.table import Table, from_document, to_document
from integrations.models.jobs import Moment
from notifications.charts import definition as charts
from notifications.charts import drawing, renderer
from notifications.charts.definition import Chart
from notifications.charts.vega import build_spec
from notifications.delivery.rows import reserve_rows, update_unlocked
from notifications.delivery.spreadsheets import Part, cut_parts, write_file, write_file_name
from notifications.models import Channel, MakerQueue, Medium, MessageForm, Report
from notifications.sources import Content, PageView, RenderingError

logger = logging.getLogger(__name__)

# Workers with `-Q charts` serve the first (docs/en/charts.md), with `-Q snapshots` the second
# (docs/en/page-pictures.md).
CHARTS_QUEUE, SNAPSHOTS_QUEUE = MakerQueue.CHARTS.value, MakerQueue.SNAPSHOTS.value
# The process of a task that takes longer is killed.
SECONDS_AT_MOST = 30
# A file with the most cells takes 10 s of a processor, which a busy machine may not have for minutes.
FILE_SECONDS_AT_MOST = 240
# Time from the end of a task's time limit until another task may make the medium.
LEASE_AFTER = timedelta(seconds=15)
# Time from handing a medium to a task until it is handed to another. QUEUED_AT_MOST keeps the queue short enough.
RESERVATION = timedelta(seconds=120)
QUEUED_AT_MOST = {CHARTS_QUEUE: 100, SNAPSHOTS_QUEUE: 12}
TRIES_AT_MOST = 3
# Messages wait this long for their pictures, then go without. Pictures of pages wait until Medium.give_up_at, or this
# long while no worker serves their queue.
PATIENCE = timedelta(minutes=30)
PREVIEW_KEPT = timedelta(hours=1)
# A picture that waits longer shows that no worker takes from the queue.
OVERDUE = timedelta(minutes=2)
_CRASHED = Sentence("Making it took too long, or ended the program each time.")
_LATE = {
    CHARTS_QUEUE: Sentence("No worker made it within 30 minutes: does one take from the queue “charts”?"),
    SNAPSHOTS_QUEUE: Sentence("No worker made it in time: does one take from the queue “snapshots”?"),
}


def hand_out_media(*, now: datetime) -> list[int]:
    """Return ids of media to make now, each reserved for RESERVATION. Pictures of incidents come first."""
    if not Medium.objects.due(now).exists():
        return []
    ids: list[int] = []
    for queue, at_most in QUEUED_AT_MOST.items():
        waiting = Medium.objects.filter(status=Medium.Status.WAITING, queue=queue)
        queued = waiting.filter(make_after__gt=now, make_after__lte=now + RESERVATION)
        room = max(0, at_most - queued.count())
        due = Medium.objects.due(now).filter(queue=queue)
        first = due.order_by("make_count", F("incident").asc(nulls_last=True), "pk")
        ids += reserve_rows(first, room, make_after=now + RESERVATION)
    return ids


def produce_medium(medium_id: int, *, clock: Clock) -> bool:
    """Make the medium, unless it was made, given up or put off. Return whether this call made it."""
    waiting = Medium.objects.filter(pk=medium_id, status=Medium.Status.WAITING)
    medium = waiting.only("kind", "recipe", "queue", "make_count").first()
    if medium is None:
        return False
    is_page = medium.queue == SNAPSHOTS_QUEUE
    # The update finds no row if another worker has begun the medium since it was read.
    begun = waiting.filter(make_count=medium.make_count, make_count__lt=TRIES_AT_MOST)
    if is_page:
        begun = begun.filter(make_after__lte=clock() + RESERVATION)  # otherwise put off while this task was queued
    # The try is committed before the work, so that it counts even if it kills the worker.
    lease = timedelta(seconds=find_time_limit(medium)) + LEASE_AFTER
    if not begun.update(make_count=F("make_count") + 1, make_after=clock() + lease):
        return False
    try:
        recipe = bytes(medium.recipe)
        if is_page:
            page = unpack_recipe(recipe)
            width, theme, kind = Width(page["width"]), Theme(page["theme"]), Format(page["kind"])
            options = PictureOptions(width, theme, kind, page["is_cropped"], page["cover_ratio"])
            picture = bi.take_picture(page["path"], page["identity"], options, now=clock())
            size = {"width": picture.width, "height": picture.height}
            made = {"content": picture.content, "cover": picture.cover or None, **size}
        else:
            made = make_from_recipe(medium.kind, recipe)
    except CannotEnter:
        sentence = Sentence("Single sign-on to the BI is switched off, or its connection is not complete.")
        _fail_medium(medium.pk, sentence, clock())
        return False
    except SentenceError as error:
        _fail_medium(medium.pk, error.sentence, clock())
        return False
    except SnapshotError as error:  # put the picture of a page off, with the reason
        now, sentence = clock(), _REASON_SENTENCES[error.reason]
        later = {"make_after": now + AGAIN_AFTER, "error": sentence.serialize()}
        if error.reason == PictureProblem.UNREACHABLE:  # put all others off, too; this try does not count
            others = Medium.objects.filter(status=Medium.Status.WAITING, queue=SNAPSHOTS_QUEUE).exclude(pk=medium.pk)
            count = update_unlocked(others.filter(make_after__lt=now + AGAIN_AFTER), **later)
            waiting.update(make_count=medium.make_count, **later)
            logger.warning("the BI does not answer: %d pictures of its pages are put off", count + 1)
        elif error.reason in _FINAL_REASONS or medium.make_count + 1 >= TRIES_AT_MOST:
            _fail_medium(medium.pk, sentence, now)
        else:
            waiting.update(**later)
        return False
    ready = {"status": Medium.Status.READY, "error": "", "recipe": b"", "made_at": clock()}
    return waiting.update(**made, **ready) == 1


def find_time_limit(medium: Medium) -> int:
    """Return after how many seconds the process that makes the medium is killed."""
    if medium.queue == SNAPSHOTS_QUEUE:
        return PAGE_SECONDS_AT_MOST
    return SECONDS_AT_MOST if medium.kind == Medium.Kind.PICTURE else FILE_SECONDS_AT_MOST


def _fail_medium(medium_id: int, sentence: Sentence, now: datetime) -> None:
    waiting = Medium.objects.filter(pk=medium_id, status=Medium.Status.WAITING)
    if waiting.update(status=Medium.Status.FAILED, error=sentence.serialize(), recipe=b"", made_at=now):
        logger.info("medium=%d cannot be made", medium_id)


def sweep_media(*, now: datetime) -> int:
    """Give up media that ended their workers or that no worker took in time, and return how many; delete old
    previews."""
    waiting = Medium.objects.filter(status=Medium.Status.WAITING)
    pages, waited_too_long = waiting.filter(queue=SNAPSHOTS_QUEUE), Q(created_at__lte=now - PATIENCE)
    late_pages = Q(give_up_at__lte=now)
    if pages.exists() and not is_served(SNAPSHOTS_QUEUE, now=now):
        late_pages |= waited_too_long
    given_up_count, late_reason = 0, "no worker took them"
    for media, error, reason in (
        (waiting.filter(make_count__gte=TRIES_AT_MOST, make_after__lte=now), _CRASHED, "each try ended its worker"),
        (waiting.filter(waited_too_long, queue=CHARTS_QUEUE), _LATE[CHARTS_QUEUE], late_reason),
        (pages.filter(late_pages, error=""), _LATE[SNAPSHOTS_QUEUE], late_reason),
        (pages.filter(late_pages).exclude(error=""), None, late_reason),
    ):
        fields = {} if error is None else {"error": error.serialize()}
        count = update_unlocked(media, status=Medium.Status.FAILED, recipe=b"", made_at=now, **fields)
        if count:
            logger.error("%d pictures or files given up: %s", count, reason)
        given_up_count += count
    previews = find_old_previews(now)
    previews._raw_delete(previews.db)  # raw, because no row refers to a preview
    return given_up_count


def find_old_previews(now: Moment) -> QuerySet[Medium]:
    """Return previews older than PREVIEW_KEPT."""
    return Medium.objects.previews().filter(created_at__lte=now - PREVIEW_KEPT)


def count_overdue(queue: str, *, now: datetime, at_most: int) -> int:
    """Count overdue media of a queue, except those put off. Return 0 if any medium was made lately."""
    count = find_overdue(now).filter(queue=queue)[:at_most].count()
    if not count or Medium.objects.filter(queue=queue, made_at__gt=now - OVERDUE).exists():
        return 0
    return count


def find_overdue(now: Moment) -> QuerySet[Medium]:
    """Return media that have waited longer than OVERDUE, in any queue."""
    return Medium.objects.filter(status=Medium.Status.WAITING, created_at__lte=now - OVERDUE, error="")


# --- Pictures of the BI's pages: while the BI is down, all waiting ones are put off together ---

# A browser has 60 s for a page, and 20 s to end if it hangs (integrations.clients.snapshots); then the task is killed.
PAGE_SECONDS_AT_MOST = 90
# The wait until the next try. It is longer than a task is queued, so that queued tasks see that the row was put off.
AGAIN_AFTER = timedelta(seconds=150)
# Pictures are given up this long before their message expires, so that the message goes out without them.
GIVEN_UP_BEFORE_EXPIRY = timedelta(minutes=10)

_REASON_SENTENCES = {
    PictureProblem.NOT_INSTALLED: Sentence(
        "The worker of the queue “snapshots” has no playwright, or finds no Chromium."
    ),
    PictureProblem.BROWSER_FAILED: Sentence("The browser failed while it drew the page."),
    PictureProblem.UNREACHABLE: Sentence("The BI did not answer."),
    PictureProblem.SIGN_IN_PAGE: Sentence("The BI asked for a password: it does not know the person, or not our key."),
    PictureProblem.ERROR_PAGE: Sentence("The BI showed an error in place of the page."),
    PictureProblem.EMPTY: Sentence("The page had nothing on it, or its cards look otherwise than the settings say."),
    PictureProblem.NOT_DRAWN: Sentence("Not every card of the page had drawn after 60 seconds."),
    PictureProblem.TOO_LARGE: Sentence("The page is too long for a picture, or its file too large."),
}
# Reasons that another try would not change.
_FINAL_REASONS = frozenset({PictureProblem.SIGN_IN_PAGE, PictureProblem.TOO_LARGE})


# --- Recipes of pictures and files as bytes: equal recipes are made once. Pure ---

# Increased when equal recipes would give another picture than before.
VERSION = 3


def pack_recipe(**document: Any) -> bytes:
    """Compress a recipe. Equal recipes give equal bytes."""
    versioned = {"version": VERSION, **document}
    return zlib.compress(json.dumps(versioned, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def unpack_recipe(recipe: bytes) -> dict[str, Any]:
    """Return the document that was packed."""
    return dict(json.loads(zlib.decompress(recipe)))


def make_picture_recipe(
    chart: Chart, table: Table, *, shape: drawing.Shape, language: str, time_zone: str = ""
) -> bytes:
    """Return the recipe of a chart of `table`. `time_zone`: of the times in the chart; the site's if empty."""
    return pack_recipe(
        chart=charts.to_document(chart),
        table=to_document(table),
        shape=shape.value,
        language=language,
        time_zone=time_zone,
    )


def digest_recipe(kind: str, recipe: bytes) -> str:
    """Return a digest that is equal for equal recipes."""
    return hashlib.sha256(kind.encode() + b"\0" + recipe).hexdigest()


def make_from_recipe(kind: str, recipe: bytes) -> dict[str, Any]:
    """Make a picture or file. Return the columns of its medium. Raises SentenceError. Pictures are drawn in a separate
    process (notifications.charts.renderer)."""
    document = unpack_recipe(recipe)
    zone = ZoneInfo(document["time_zone"]) if document.get("time_zone") else timezone.get_default_timezone()
    with translation.override(document["language"]), timezone.override(zone):
        if kind == "picture":
            chart, table = charts.from_document(document["chart"]), from_document(document["table"])
            spec = build_spec(chart, table, shape=drawing.Shape(document["shape"]))
            try:
                drawn = renderer.draw(spec, scale=drawing.SCALE)
            except renderer.DrawingError as error:
                sentence = Sentence("The picture could not be drawn (%(reason)s).")
                raise SentenceError(sentence % {"reason": error}) from error
            size = {"width": drawn.width, "height": drawn.height}
            return {"content": drawn.png, "svg": zlib.compress(drawn.svg.encode()), **size}
        tables = zip(document["tables"], document["row_counts"], strict=True)
        parts = [Part(title, from_document(table), row_count) for (title, table), row_count in tables]
        return {"content": write_file(kind, parts)}


# --- Signed, expiring addresses of pictures, for WeCom and phones without a session ---

_SALT = "notifications.media.links"
# Phones fetch a picture each time that they show the message.
LINK_DAYS = 30


def sign_picture_path(medium_id: int, *, now: datetime) -> str:
    """Return the path of a picture, valid for LINK_DAYS from `now`. Equal arguments give equal paths."""
    until = int((now + timedelta(days=LINK_DAYS)).timestamp())
    signed = signing.Signer(salt=_SALT, sep=".").sign(f"{medium_id}-{until}")
    return f"/p/{signed}.png"


def find_linked_picture(signed: str, *, now: datetime) -> Medium | None:
    """Return the ready picture behind a link; None if the link is not signed by us or too old."""
    try:
        medium_id, _dash, until = signing.Signer(salt=_SALT, sep=".").unsign(signed).partition("-")
    except signing.BadSignature:
        return None
    if int(until) <= now.timestamp():
        return None
    ready = Medium.objects.filter(pk=int(medium_id), kind=Medium.Kind.PICTURE, status=Medium.Status.READY)
    return ready.only("cover", "content", "content_type", "digest").first()


# --- Plans: which pictures and files a message has, from which recipes ---

PICTURE_FORMS = frozenset({MessageForm.NEWS, MessageForm.IMAGE, MessageForm.NEWS_NOTICE})
FILE_FORMS = frozenset({MessageForm.XLSX, MessageForm.CSV})
MEDIA_FORMS = PICTURE_FORMS | FILE_FORMS | {MessageForm.FILE}
_SHAPES = {
    MessageForm.NEWS: drawing.Shape.NEWS,
    MessageForm.NEWS_NOTICE: drawing.Shape.CARD,
    MessageForm.IMAGE: drawing.Shape.FREE,
}
# Width divided by height of the picture above the words, as WeCom shows it.
_COVERS = {MessageForm.NEWS: 1068 / 455, MessageForm.NEWS_NOTICE: drawing.CARD_RATIO}


@dataclass(frozen=True, slots=True)
class WantedMedium:
    """A medium to make. `alias`: of the report's card that it shows; `medium_id`: of a medium that exists already;
    `name`, `content_type`: of a file with its own name; `queue`: of the workers that make it."""

    kind: Medium.Kind
    recipe: bytes
    title: str
    alias: str = ""
    medium_id: int | None = None
    name: str = ""
    content_type: str = ""
    queue: MakerQueue = MakerQueue.CHARTS

    def make_columns(self, now: datetime) -> dict[str, Any]:
        """Return the columns of the row of Medium to create."""
        names = ("kind", "recipe", "name", "content_type", "queue")
        own_columns = {name: getattr(self, name) for name in names}
        return {**own_columns, "digest": digest_recipe(self.kind, self.recipe), "created_at": now, "make_after": now}


@dataclass(frozen=True, slots=True)
class MediaPlan:
    """The media of a content: `carried` by the message itself, and `shown` on its page."""

    carried: WantedMedium | None = None
    shown: tuple[WantedMedium, ...] = ()


NO_MEDIA = MediaPlan()


def plan_attachments(
    form: MessageForm,
    channel: str,
    content: Content,
    charts: Sequence[tuple[str, Chart]],
    *,
    language: str,
    time_zone: str = "",
) -> MediaPlan:
    """Plan the media of a content. `charts`: of the report, each with the alias of its card; a chart of a missing card
    is left out. `time_zone`: of the times in the media; the site's if empty. Large tables take time: call it outside a
    transaction."""
    if content.media:  # from an incoming message: the page shows all, the message carries the first that fits
        ready = tuple(WantedMedium(one.kind, b"", one.name, medium_id=one.medium_id) for one in content.media)
        fits = {**dict.fromkeys(PICTURE_FORMS, Medium.Kind.PICTURE), MessageForm.FILE: Medium.Kind.FILE}
        return MediaPlan(next((one for one in ready if one.kind == fits.get(form)), None), ready)
    cards = {card.alias: card for card in content.cards}
    drawable = [(alias, chart) for alias, chart in charts if alias in cards]

    def want_picture(alias: str, chart: Chart, shape: drawing.Shape) -> WantedMedium:
        recipe = make_picture_recipe(chart, cards[alias].table, shape=shape, language=language, time_zone=time_zone)
        return WantedMedium(Medium.Kind.PICTURE, recipe, chart.title or cards[alias].title, alias)

    shown = [want_picture(alias, chart, drawing.Shape.FREE) for alias, chart in drawable]
    if content.page is not None:
        # The page's picture, with a cover if the form shows one, or the page's PDF.
        view, is_pdf = content.page, form == MessageForm.FILE
        page_kind = Format.PDF if is_pdf else Format.PICTURE
        options = replace(view.options, kind=page_kind, cover_ratio=_COVERS.get(form, 0.0))
        page = WantedMedium(
            Medium.Kind.FILE if is_pdf else Medium.Kind.PICTURE,
            pack_recipe(path=view.path, identity=view.identity, **asdict(options)),
            view.name,
            name=write_file_name(view.name, view.slot_at, "pdf" if is_pdf else "png"),
            content_type="application/pdf" if is_pdf else "image/png",
            queue=MakerQueue.SNAPSHOTS,
        )
        shown.insert(0, page)
        if form in PICTURE_FORMS or form == MessageForm.FILE:
            return MediaPlan(page, tuple(shown))
    carried = None
    if form in PICTURE_FORMS and drawable:
        # A mail has room for any picture.
        carried = want_picture(*drawable[0], drawing.Shape.FREE if channel == Channel.EMAIL else _SHAPES[form])
    elif form in FILE_FORMS and content.cards:
        kind = Medium.Kind(form.value)
        sheets = [(card.title, card.table) for card in content.cards]
        parts = cut_parts(sheets if kind == Medium.Kind.XLSX else sheets[:1])  # a csv holds the first alone
        tables = [[part.title, to_document(part.table)] for part in parts]
        row_counts = [part.row_count for part in parts]
        recipe = pack_recipe(tables=tables, row_counts=row_counts, language=language, time_zone=time_zone)
        carried = WantedMedium(kind, recipe, "")
        shown.append(carried)
    return MediaPlan(carried, tuple(shown))


# --- Pictures of pages of the BI: the page, the account that sees it, and why there is none ---


class RecipientPages:
    """The BI page as each person's own BI account sees it, or, for all people, as the owner's account sees it."""

    def __init__(
        self, report: Report, slot_at: datetime, *, owner_id: int | None = None, is_preview: bool = False
    ) -> None:
        """Check the connection. `owner_id`: the person whose view of the page everybody gets, in a preview the editor;
        None: each person's own. `report` need not be saved. Raises RenderingError if nobody gets a picture."""
        self._report, self._slot_at = report, slot_at
        self._identities: dict[int, str] = {}
        self._owner_identity = ""
        if (obstacle := find_obstacle()) is not None:
            raise RenderingError(obstacle)
        self.depends_on_person = owner_id is None
        if owner_id is not None:
            self._owner_identity = bi_identity.find_identities([owner_id]).get(owner_id, "")
            if not self._owner_identity:
                sentence = Sentence(
                    "The picture of a page is shown as the owner sees it, who has no account in the BI."
                )
                if is_preview:
                    sentence = Sentence(
                        "You have no account in the BI: its page is previewed with your own rights alone."
                    )
                raise RenderingError(sentence)

    def preload_people(self, user_ids: Collection[int]) -> None:
        """Look up the BI accounts of all these people at once."""
        if self.depends_on_person:
            self._identities = bi_identity.find_identities(user_ids)

    def find_identity(self, user_id: int) -> str:
        """Return the BI account whose view the person gets; empty if there is none."""
        return self._identities.get(user_id, "") if self.depends_on_person else self._owner_identity

    def make_view(self, user_id: int | None) -> PageView:
        """Return the page as the person sees it; None: as a group does. Raises RenderingError."""
        if user_id is None and self.depends_on_person:
            raise RenderingError(
                Sentence(
                    "Everybody in the group would see the same: a picture of a page with each recipient's own rights "
                    "cannot go to a robot."
                )
            )
        report, identity = self._report, self._owner_identity if user_id is None else self.find_identity(user_id)
        path, width = f"{report.picture_kind}/{report.picture_bi_id}", Width(report.picture_width)
        options = PictureOptions(width, Theme(report.picture_theme), is_cropped=report.picture_is_cropped)
        return PageView(path, identity, report.picture_name, self._slot_at, options)


def find_obstacle(*, now: datetime | None = None) -> Sentence | None:
    """Return why nobody gets pictures of pages: the BI is not connected or, if `now` is given, no worker takes them at
    that time. Return None if they can be taken."""
    saved = bi.load_connection()
    if not (saved.is_enabled and saved.base_url and saved.has_key):
        return Sentence("Single sign-on to the BI does not work: its address or key is missing, or it is switched off.")
    if now is None or is_served(SNAPSHOTS_QUEUE, now=now):
        return None
    return Sentence(
        "No worker takes pictures of pages: an administrator installs requirements/snapshots.txt and Chromium, and "
        "starts a worker with -Q snapshots."
    )
