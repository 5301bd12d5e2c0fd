"""Plans the pictures and files of a message: which are to be made, from which recipes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from accounts.users import bi_identity
from integrations import bi
from integrations.clients.snapshots import Format, Options, Theme, Width
from integrations.core.heartbeats import is_served
from integrations.core.sentences import Sentence
from notifications.charts import drawing
from notifications.charts.definition import Chart
from notifications.delivery.attachments import (
    PREVIEW_KEPT,
    SNAPSHOTS_QUEUE,
    file_recipe,
    page_recipe,
    picture_recipe,
    recipe_digest,
)
from notifications.delivery.spreadsheets import write_file_name
from notifications.models import Channel, MakerQueue, Medium, MessageForm, PagePicture
from notifications.sources import Content, PageView, RenderingError

if TYPE_CHECKING:
    from accounts.models import User


PICTURE_FORMS = frozenset({MessageForm.NEWS, MessageForm.IMAGE, MessageForm.NEWS_NOTICE})
FILE_FORMS = frozenset({MessageForm.XLSX, MessageForm.CSV})
MEDIA_FORMS = PICTURE_FORMS | FILE_FORMS | {MessageForm.FILE}
# Half of the time that a preview is kept, so that a shared one is not deleted before it is seen.
PREVIEW_SHARED = PREVIEW_KEPT / 2
_SHAPES = {
    MessageForm.NEWS: drawing.Shape.NEWS,
    MessageForm.NEWS_NOTICE: drawing.Shape.CARD,
    MessageForm.IMAGE: drawing.Shape.FREE,
}
# Width divided by height of the picture above the words, as WeCom shows it.
_COVERS = {MessageForm.NEWS: 1068 / 455, MessageForm.NEWS_NOTICE: drawing.CARD_RATIO}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A medium to make. `alias`: of the report's card that it shows; `medium_id`: of a medium that exists already.
    `name`, `content_type`: of a file with its own name; `queue`: of the workers that make it."""

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
    """The media of a content: `carried` by the message itself, and `shown` on its page."""

    carried: Wanted | None = None
    shown: tuple[Wanted, ...] = ()


NOTHING = Plan()


def plan_attachments(
    form: MessageForm,
    channel: str,
    content: Content,
    charts: Sequence[tuple[str, Chart]],
    *,
    language: str,
    time_zone: str = "",
) -> Plan:
    """Plan the media of a content. `charts`: of the report, each with the alias of its card; a chart of a missing card
    is left out. `time_zone`: of the times in them; the site's if empty. Large tables take time: call it outside a
    transaction."""
    if content.media:  # from an incoming message: the page shows all, the message carries the first that fits
        ready = tuple(Wanted(one.kind, b"", one.name, medium_id=one.medium_id) for one in content.media)
        fits = {**dict.fromkeys(PICTURE_FORMS, Medium.Kind.PICTURE), MessageForm.FILE: Medium.Kind.FILE}
        return Plan(next((one for one in ready if one.kind == fits.get(form)), None), ready)
    cards = {card.alias: card for card in content.cards}
    drawable = [(alias, chart) for alias, chart in charts if alias in cards]

    def draw(alias: str, chart: Chart, shape: drawing.Shape) -> Wanted:
        recipe = picture_recipe(chart, cards[alias].table, shape=shape, language=language, time_zone=time_zone)
        return Wanted(Medium.Kind.PICTURE, recipe, chart.title or cards[alias].title, alias)

    shown = [draw(alias, chart, drawing.Shape.FREE) for alias, chart in drawable]
    if content.page is not None:
        page = want_page(form, content.page)
        shown.insert(0, page)
        if form in PICTURE_FORMS or form == MessageForm.FILE:
            return Plan(page, tuple(shown))
    carried = None
    if form in PICTURE_FORMS and drawable:
        # A mail has room for any picture.
        carried = draw(*drawable[0], drawing.Shape.FREE if channel == Channel.EMAIL else _SHAPES[form])
    elif form in FILE_FORMS and content.cards:
        kind = Medium.Kind(form.value)
        sheets = [(card.title, card.table) for card in content.cards]
        sheets = sheets if kind == Medium.Kind.XLSX else sheets[:1]
        carried = Wanted(kind, file_recipe(sheets, language=language, time_zone=time_zone), "")
        shown.append(carried)
    return Plan(carried, tuple(shown))


def want_page(form: MessageForm, page: PageView) -> Wanted:
    """Want the page's picture, with a cover if the form shows one, or the page's PDF."""
    is_pdf = form == MessageForm.FILE
    options = replace(page.options, kind=Format.PDF if is_pdf else Format.PICTURE, cover_ratio=_COVERS.get(form, 0.0))
    return Wanted(
        Medium.Kind.FILE if is_pdf else Medium.Kind.PICTURE,
        page_recipe(page.path, page.identity, options),
        page.name,
        name=write_file_name(page.name, page.slot_at, "pdf" if is_pdf else "png"),
        content_type="application/pdf" if is_pdf else "image/png",
        queue=MakerQueue.SNAPSHOTS,
    )


def preview_medium(wanted: Wanted, *, now: datetime) -> Medium:
    """Return a medium of no run for a preview. A recent equal one is shared, unless it could not be made."""
    digest = recipe_digest(wanted.kind, wanted.recipe)
    same = Medium.objects.previews().filter(digest=digest, created_at__gt=now - PREVIEW_SHARED)
    known = same.exclude(status=Medium.Status.FAILED).order_by("-pk").first()
    if known is not None:
        return known
    return Medium.objects.create(digest=digest, created_at=now, make_after=now, **medium_fields(wanted))


def medium_fields(wanted: Wanted) -> dict[str, Any]:
    """Return the columns of a medium that describe what to make."""
    names = ("kind", "recipe", "name", "content_type", "queue")
    return {name: getattr(wanted, name) for name in names}


# --- Pictures of pages of the BI: which page, as whom, and why there is none ---


FindIdentities: TypeAlias = Callable[[Collection[int]], dict[int, str]]


class RecipientPages:
    """The BI page as each person's own account sees it, or as the owner's does for all."""

    def __init__(
        self,
        picture: PagePicture,
        slot_at: datetime,
        *,
        owner_id: int | None = None,
        find_identities: FindIdentities = bi_identity.identities,
    ) -> None:
        """Check the connection. `owner_id`: as whom all see it. Raises RenderingError if nobody gets a picture."""
        self._picture, self._slot_at, self._find_identities = picture, slot_at, find_identities
        self._identities: dict[int, str] = {}
        self._owners = ""
        if (obstacle := _find_connection_obstacle()) is not None:
            raise RenderingError(obstacle)
        self.is_split = owner_id is None
        if owner_id is not None:
            self._owners = bi_identity.identities([owner_id]).get(owner_id, "")
            if not self._owners:
                raise RenderingError(
                    Sentence("The picture of a page is shown as the owner sees it, who has no account in the BI.")
                )

    def preload_people(self, user_ids: Collection[int]) -> None:
        """Look up the BI accounts of all these people at once."""
        if self.is_split:
            self._identities = self._find_identities(user_ids)

    def identity_of(self, user_id: int) -> str:
        """Return the BI account whose view the person gets; empty if there is none."""
        return self._identities.get(user_id, "") if self.is_split else self._owners

    def view_of(self, user_id: int | None) -> PageView:
        """Return the page as the person sees it; None: as a group does. Raises RenderingError."""
        if user_id is None and self.is_split:
            raise RenderingError(
                Sentence(
                    "Everybody in the group would see the same: a picture of a page with each recipient's own rights "
                    "cannot go to a robot."
                )
            )
        picture, identity = self._picture, self._owners if user_id is None else self.identity_of(user_id)
        options = Options(Width(picture.width), Theme(picture.theme), is_cropped=picture.is_cropped)
        return PageView(picture.path, identity, picture.name, self._slot_at, options)


def pages_for_editor(picture: PagePicture, editor: User, slot_at: datetime) -> RecipientPages:
    """Return the page of a preview as the editor's own account sees it, whoever the recipients are. `picture` need not
    be saved. Raises RenderingError, with a sentence."""
    if _find_connection_obstacle() is None and not bi_identity.identities([editor.pk]).get(editor.pk):
        raise RenderingError(
            Sentence("You have no account in the BI: its page is previewed with your own rights alone.")
        )
    return RecipientPages(picture, slot_at, owner_id=editor.pk)


def find_obstacle(*, now: datetime) -> Sentence | None:
    """Return why this installation cannot take pictures of pages now; None if it can."""
    found = _find_connection_obstacle()
    if found is None and not is_served(SNAPSHOTS_QUEUE, now=now):
        return Sentence(
            "No worker takes pictures of pages: an administrator installs requirements/snapshots.txt and Chromium, and "
            "starts a worker with -Q snapshots."
        )
    return found


def _find_connection_obstacle() -> Sentence | None:
    saved = bi.connection()
    if saved.is_enabled and saved.base_url and saved.has_key:
        return None
    return Sentence("Nobody enters the BI from here: its address or key is missing, or it is switched off.")
