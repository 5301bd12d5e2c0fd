"""Signed, expiring addresses of pictures, for WeCom and phones without a session."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core import signing

from notifications.models import Medium

_SALT = "notifications.media.links"
# Phones ask for a picture each time that they show the message.
LINK_DAYS = 30


def picture_path(medium_id: int, *, now: datetime) -> str:
    """The path of a picture, good for LINK_DAYS from `now` on. Of the same moment it is always the same."""
    until = int((now + timedelta(days=LINK_DAYS)).timestamp())
    signed = signing.Signer(salt=_SALT, sep=".").sign(f"{medium_id}-{until}")
    return f"/p/{signed}.png"


def picture_of(signed: str, *, now: datetime) -> Medium | None:
    """The picture behind a link; None for what is not signed by us, too old, or no picture that is ready."""
    try:
        medium_id, _dash, until = signing.Signer(salt=_SALT, sep=".").unsign(signed).partition("-")
    except signing.BadSignature:
        return None
    if int(until) <= now.timestamp():
        return None
    ready = Medium.objects.filter(pk=int(medium_id), kind=Medium.Kind.PICTURE, status=Medium.Status.READY)
    return ready.only("cover", "content", "content_type", "digest").first()
