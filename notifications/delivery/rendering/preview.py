"""Previews a message: renders what a source sends to one person as the engine does, and writes nothing.

The source's rows need not be saved. `read_message` shows any delivery as WeCom does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.utils import translation
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.attachments import (
    FILE_FORMS,
    MEDIA_FORMS,
    NO_MEDIA,
    PREVIEW_KEPT,
    MediaPlan,
    WantedMedium,
)
from notifications.delivery.rendering.message_builder import draw_markdown, make_cut_suffix
from notifications.delivery.rendering.render import PlannedDelivery, compose, draft_delivery, plan_mails, plan_media
from notifications.delivery.spreadsheets import write_file_name
from notifications.models import Channel, Delivery, MakerQueue, Medium, Robot, Run
from notifications.sources import Content, RunSource, SkipReason
from notifications.subscriptions.recipients import Recipient

# The recipient of a preview when the chosen one cannot be reached, or nobody in particular is chosen.
STAND_IN = Recipient(0, None, "preview", "", None)
# How long the page waits for a picture or file of a preview; a message waits longer. One of a BI page takes up to 60 s.
PATIENCE = {MakerQueue.CHARTS: timedelta(seconds=60), MakerQueue.SNAPSHOTS: timedelta(seconds=120)}
# A preview is shared for half of the time that it is kept, so that it is not deleted before others have seen it.
PREVIEW_SHARED = PREVIEW_KEPT / 2
# The most previews of all people that may wait: messages need the workers too.
WAITING_AT_MOST = 60
PREVIEW_SALT = "notifications.report_drawings"
# A picture or file of a preview: its title, the token that asks for its state, and the alias of the card that it shows.
PreviewMedium = dict[str, str]
_LINK = re.compile(r"&lt;a href=&quot;(https?://[^\s&]+)&quot;&gt;([^\n]*?)&lt;/a&gt;")


@dataclass(frozen=True)
class PhoneMessage:
    """A message as WeCom draws it. `kind`: its msgtype or type of card, or mail. Parts that it lacks are empty.

    `description`: the line below a card's title; `content`: its text. `picture`: the address of its picture;
    `has_picture`: true also before it is drawn. `large`: the emphasised figure; `below_large`: its caption.
    `paragraphs`: headings with the texts below them; `lines`: names with values. `jumps`: labels of links and buttons.
    """

    kind: str
    content: SafeString
    title: str = ""
    description: str = ""
    button: str = ""
    is_cut: bool = False
    is_title_cut: bool = False
    has_picture: bool = False
    picture: str = ""
    large: str = ""
    below_large: str = ""
    paragraphs: tuple[tuple[str, str], ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    jumps: tuple[str, ...] = ()
    file_name: str = ""


@dataclass(frozen=True)
class RenderedPreview:
    """The message that one person would get. `delivery`: unsaved, with the exact bytes; `lacks_medium`: its form wants
    a picture or a file, and there is none. `skip_reason`: why the person gets nothing; the rest is empty then."""

    delivery: Delivery | None = None
    content: Content | None = None
    phone: PhoneMessage | None = None
    media: MediaPlan = NO_MEDIA
    lacks_medium: bool = False
    skip_reason: SkipReason | None = None


def preview_message(source: RunSource, run: Run, to: Recipient | Robot | None, *, now: datetime) -> RenderedPreview:
    """Render what `source` would send with `run` to one person, to a group, or (None) to nobody in particular.

    A person who cannot be reached is replaced by STAND_IN. Raises RenderingError, and what the source raises.
    """
    with translation.override(settings.LANGUAGE_CODE):
        contents = source.build_contents(now=now)
        user_id = to.user_id if isinstance(to, Recipient) else None
        if user_id is not None and contents.depends_on_person:
            contents.preload_people([user_id])
            if (skip_reason := contents.find_skip_reason(user_id)) is not None:
                return RenderedPreview(skip_reason=skip_reason)
        content = contents.find_content(user_id)
        if isinstance(to, Robot):
            planned = PlannedDelivery(to.corp, [], content, channel=Channel.ROBOT, robot=to)
        elif to is not None and to.channel == Channel.EMAIL:
            planned = next(plan_mails([to], source.terms.corp_id, lambda _person: (content, None)))
        else:
            person = STAND_IN if to is None or to.reason is not None else to
            corps = Corp.objects.select_related("site_address").order_by("pk")
            chosen = corps.filter(pk=person.corp_id or source.terms.corp_id or 0).first()
            planned = PlannedDelivery(chosen or corps.first() or Corp(agentid=1), [person], content)
        [planned] = plan_media(source.terms.form, contents, [planned])
        address = planned.corp.find_site_address()
        draft = draft_delivery(run, source, planned, now)
        delivery = compose(draft, source, planned, address, address.absolute("/p/preview.png"), now=now)
        carried, form = planned.media.carried, source.terms.form
        phone = read_message(delivery, medium_name="" if carried is None else carried.name)
        is_pictured = carried is not None and carried.kind == Medium.Kind.PICTURE
        phone = replace(
            phone,
            is_title_cut=content.title != (phone.title or delivery.title),
            has_picture=phone.has_picture or (is_pictured and planned.channel == Channel.EMAIL),
        )
        return RenderedPreview(delivery, content, phone, planned.media, form in MEDIA_FORMS and not carried)


# --- Messages as WeCom draws them -------------------------------------------------------------------------------------


def read_message(delivery: Delivery, *, medium_name: str = "", picture: str = "") -> PhoneMessage:
    """Read the bytes of a delivery of any channel. `medium_name`: the name of its file, if it has one; `picture`: the
    address of its picture in the administration."""
    payload: dict[str, Any] = json.loads(bytes(delivery.body))
    kind = str(payload.get("msgtype", ""))
    parts, text = payload.get(kind, payload), delivery.text
    match kind:
        case "textcard":
            description = str(parts["description"])
            html = mark_safe(str(escape(description)).replace("&lt;br&gt;", "<br>"))  # noqa: S308  # only breaks
            is_cut = description.endswith("…") and not text.endswith("…")
            found = PhoneMessage(kind, html, parts["title"], button=parts.get("btntxt", ""), is_cut=is_cut)
        case "text":
            linked = _LINK.sub(r'<a href="\1" rel="noopener noreferrer">\2</a>', str(escape(parts["content"])))
            html = mark_safe(linked.replace("\n", "<br>"))  # noqa: S308  # only breaks, and the link that we wrote
            found = PhoneMessage(kind, html, is_cut=text not in parts["content"])
        case "markdown":
            html = draw_markdown(parts["content"])
            found = PhoneMessage(kind, html, is_cut=text not in parts["content"])
        case "news":
            [article] = parts["articles"]
            description, is_pictured = str(article.get("description", "")), bool(article.get("picurl"))
            # WeCom joins the lines of an article's description.
            html, is_cut = SafeString(escape(description)), description != text
            found = PhoneMessage(kind, html, article["title"], is_cut=is_cut, has_picture=is_pictured)
        case "template_card":
            emphasis, title = parts.get("emphasis_content", {}), parts.get("main_title", {})
            paragraphs = tuple(
                (str(one["title"]), str(one.get("desc", ""))) for one in parts.get("vertical_content_list", ())
            )
            subtitle = str(parts.get("sub_title_text", ""))
            buttons = [*parts.get("jump_list", ()), *({"title": one["text"]} for one in parts.get("button_list", ()))]
            found = PhoneMessage(
                str(parts["card_type"]),
                _escape_lines(subtitle),
                title.get("title", ""),
                title.get("desc", ""),
                is_cut=" ".join([subtitle, *(below for _title, below in paragraphs)]).endswith(make_cut_suffix()),
                has_picture="card_image" in parts,
                large=emphasis.get("title", ""),
                below_large=emphasis.get("desc", ""),
                paragraphs=paragraphs,
                lines=tuple((row["keyname"], row.get("value", "")) for row in parts.get("horizontal_content_list", ())),
                jumps=tuple(row["title"] for row in buttons),
            )
        case "image" | "file":
            found = PhoneMessage(kind, SafeString(""), has_picture=kind == "image")
        case _:
            found = PhoneMessage("mail", _escape_lines(str(parts["text"])), parts["subject"])
    if found.has_picture or (not kind and picture):
        found = replace(found, has_picture=True, picture=picture)
    if kind != "file":
        return found
    is_table = delivery.message_form in FILE_FORMS
    extension = str(delivery.message_form) if is_table else "png"
    return replace(found, file_name=medium_name or write_file_name(delivery.title, delivery.created_at, extension))


def _escape_lines(text: str) -> SafeString:
    return mark_safe(str(escape(text)).replace("\n", "<br>"))  # noqa: S308  # escaped, but for breaks


# --- Pictures and files of the preview, which workers make ------------------------------------------------------------


def begin_media(
    plan: MediaPlan, *, by: User, now: datetime
) -> tuple[list[int], PreviewMedium | None, list[PreviewMedium]] | None:
    """Request the media of the plan. Return their ids, to be handed out now; the one that the message carries; and the
    pictures on its page. Return None, and request nothing, if too many previews wait."""
    wanted = list(dict.fromkeys([*plan.shown, *([plan.carried] if plan.carried else [])]))
    waiting = Medium.objects.previews().filter(status=Medium.Status.WAITING)
    if wanted and waiting[:WAITING_AT_MOST].count() == WAITING_AT_MOST:
        return None
    media: dict[WantedMedium, Medium] = {}
    for each in wanted:
        columns = each.make_columns(now)
        # A recent equal one is shared, unless it could not be made.
        same = Medium.objects.previews().filter(digest=columns["digest"], created_at__gt=now - PREVIEW_SHARED)
        known = same.exclude(status=Medium.Status.FAILED).order_by("-pk").first()
        media[each] = Medium.objects.create(**columns) if known is None else known
    previewed: dict[WantedMedium, PreviewMedium] = {}
    for each, medium in media.items():
        # The page asks for the medium's state with this token, which is valid for `by` and for an hour.
        token = signing.dumps((medium.pk, by.pk, int(now.timestamp())), salt=PREVIEW_SALT)
        previewed[each] = {"title": each.title, "token": token, "alias": each.alias}
    shown = [previewed[each] for each in plan.shown if each.kind == Medium.Kind.PICTURE]
    return [medium.pk for medium in media.values()], previewed[plan.carried] if plan.carried else None, shown


def find_medium_state(token: str, *, by: User, now: datetime) -> tuple[Medium | None, int, str] | None:
    """Return the medium once it is ready, the seconds since it was asked for, and why it will not be made, in a
    sentence. Return None if the token is another person's or too old, or the medium was deleted."""
    try:
        medium_id, user_id, since = signing.loads(token, salt=PREVIEW_SALT, max_age=PREVIEW_KEPT)
    except signing.BadSignature:
        return None
    medium = Medium.objects.previews().filter(pk=medium_id).defer("recipe").first()
    if user_id != by.pk or medium is None:
        return None
    seconds = max(0, int(now.timestamp()) - since)
    if medium.status == Medium.Status.READY:
        return medium, seconds, ""
    if medium.status == Medium.Status.FAILED:
        return None, seconds, medium.error_text
    if seconds < PATIENCE[MakerQueue(medium.queue)].total_seconds():
        return None, seconds, ""
    sentence = _("No worker took it within %(count)d seconds: does one take from the queue “%(queue)s”?")
    if medium.make_count:
        sentence = ngettext(
            "It is not made after %(count)d second: there may be too much to draw.",
            "It is not made after %(count)d seconds: there may be too much to draw.",
            seconds,
        )
    return None, seconds, sentence % {"count": seconds, "queue": medium.queue}
