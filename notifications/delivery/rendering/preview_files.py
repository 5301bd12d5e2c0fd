"""Pictures and files for previews of reports and alert rules.

A page gets a token for each, good for its own person and an hour, and asks with it how far the making is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from notifications.delivery.attachments import jobs
from notifications.delivery.rendering import attachments
from notifications.delivery.rendering.attachments import Plan, Wanted
from notifications.models import MakerQueue, Medium

# Whoever looks at a page is not kept waiting longer; a message would wait for jobs.PATIENCE. A page of the BI may take
# a minute by itself.
PATIENCE = {MakerQueue.CHARTS: timedelta(seconds=60), MakerQueue.SNAPSHOTS: timedelta(seconds=120)}
# All people together may have so many waiting: messages need the workers, too.
WAITING_AT_MOST = 60
_SALT = "notifications.report_drawings"


class TooManyDrawingsError(Exception):
    """So many drawings for pages wait already that another one would not be there in time."""


@dataclass(frozen=True)
class Drawing:
    """One that is being made. `token`: for its own person. `alias`: what it is of."""

    title: str
    kind: str
    token: str
    alias: str = ""


@dataclass(frozen=True)
class Drawings:
    """`carried`: by the message itself; `shown`: on its page. `medium_ids`: to be handed out now."""

    carried: Drawing | None
    shown: list[Drawing]
    medium_ids: list[int]


@dataclass(frozen=True)
class State:
    """How far it is. `medium`: once it is ready; `problem`: why it never will be, in a sentence."""

    seconds: int
    medium: Medium | None = None
    problem: str = ""


def begin(plan: Plan, *, by: User, now: datetime) -> Drawings:
    """Ask for all that the plan wants. Raises TooManyDrawingsError, with nothing asked for."""
    wanted = list(dict.fromkeys([*plan.shown, *([plan.carried] if plan.carried else [])]))
    waiting = Medium.objects.previews().filter(status=Medium.Status.WAITING)
    if wanted and waiting[:WAITING_AT_MOST].count() == WAITING_AT_MOST:
        raise TooManyDrawingsError
    media = {each: attachments.preview(each, now=now) for each in wanted}

    def drawing(each: Wanted) -> Drawing:
        return Drawing(each.title, each.kind, _token(media[each], by, now), each.alias)

    return Drawings(
        carried=drawing(plan.carried) if plan.carried else None,
        shown=[drawing(each) for each in plan.shown if each.kind == Medium.Kind.PICTURE],
        medium_ids=[medium.pk for medium in media.values()],
    )


def state_of(token: str, *, by: User, now: datetime) -> State | None:
    """None for a token that is not the person's own, is too old, or whose drawing is forgotten."""
    try:
        medium_id, user_id, since = signing.loads(token, salt=_SALT, max_age=jobs.PREVIEW_KEPT)
    except signing.BadSignature:
        return None
    medium = Medium.objects.previews().filter(pk=medium_id).defer("recipe").first()
    if user_id != by.pk or medium is None:
        return None
    seconds = max(0, int(now.timestamp()) - since)
    if medium.status == Medium.Status.READY:
        return State(seconds, medium)
    if medium.status == Medium.Status.FAILED:
        return State(seconds, problem=medium.error_text)
    if seconds >= PATIENCE[MakerQueue(medium.queue)].total_seconds():
        return State(seconds, problem=_late(medium, seconds))
    return State(seconds)


def _late(medium: Medium, seconds: int) -> str:
    if medium.make_count:
        return ngettext(
            "It is not made after %(count)d second: there may be too much to draw.",
            "It is not made after %(count)d seconds: there may be too much to draw.",
            seconds,
        ) % {"count": seconds}
    sentence = _("No worker took it within a minute: does one take from the queue “%(queue)s”?")
    return sentence % {"queue": medium.queue}


def _token(medium: Medium, by: User, now: datetime) -> str:
    return signing.dumps((medium.pk, by.pk, int(now.timestamp())), salt=_SALT)
