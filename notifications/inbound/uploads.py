"""Uploads: pictures and files that wait a day for the messages that will carry them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet, Sum

from notifications.inbound.files import CheckedFile
from notifications.models import ApiToken, Medium, Upload
from notifications.models.lookups import Moment

KEPT = timedelta(days=1)
# Of one token, at a time.
UPLOADS_AT_MOST = 200
BYTES_AT_MOST = 1024 * 1024 * 1024
# Of one message, together: they are in memory while it is accepted.
MESSAGE_BYTES = 60 * 1024 * 1024
PURGED_AT_ONCE = 200


class TooLargeError(Exception):
    """The uploads of one message are too large together."""


class TooManyUploadsError(Exception):
    """So many, or so large ones, of the token wait already. `retry_after_seconds`: until the oldest is forgotten."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("too many uploads")
        self.retry_after_seconds = retry_after_seconds


def keep(token: ApiToken, file: CheckedFile, *, now: datetime) -> Upload:
    """Raises TooManyUploadsError."""
    with transaction.atomic():
        ApiToken.objects.select_for_update(of=("self",)).get(pk=token.pk)
        waiting = Upload.objects.filter(token=token, created_at__gt=now - KEPT)
        size = waiting.aggregate(total=Sum("size"))["total"] or 0
        if waiting.count() >= UPLOADS_AT_MOST or size + len(file.content) > BYTES_AT_MOST:
            oldest = waiting.order_by("created_at").values_list("created_at", flat=True)[0]
            raise TooManyUploadsError(max(1, int((oldest + KEPT - now).total_seconds())))
        return Upload.objects.create(
            token=token,
            kind=file.kind,
            name=file.name,
            content_type=file.content_type,
            size=len(file.content),
            width=file.width,
            height=file.height,
            digest=file.digest,
            content=file.content,
            created_at=now,
        )


def of_token(token: ApiToken, ids: Collection[int], *, now: datetime) -> dict[int, CheckedFile]:
    """Those of these uploads that are the token's and that it may still use, by id. Raises TooLargeError for more than
    MESSAGE_BYTES together."""
    rows = Upload.objects.filter(pk__in=ids, token=token, created_at__gt=now - KEPT)
    if (rows.aggregate(total=Sum("size"))["total"] or 0) > MESSAGE_BYTES:
        raise TooLargeError
    return {row.pk: _file(row) for row in rows}


def _file(row: Upload) -> CheckedFile:
    kind, content = Medium.Kind(row.kind), bytes(row.content)
    return CheckedFile(row.name, kind, row.content_type, content, row.width, row.height)


def due(now: Moment) -> QuerySet[Upload]:
    """Uploads whose time is over."""
    return Upload.objects.older_than(now - KEPT)


def purge(*, now: datetime) -> int:
    """Forget at most PURGED_AT_ONCE uploads whose time is over. Returns how many."""
    ids = list(due(now).order_by("created_at").values_list("pk", flat=True)[:PURGED_AT_ONCE])
    rows = Upload.objects.filter(pk__in=ids)
    # Raw: nothing hangs on an upload, and Django could read the contents of all to delete them.
    return int(rows._raw_delete(rows.db)) if ids else 0
