"""The messages of one person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from django.db.models import Q, QuerySet

from accounts.models import User
from integrations.core.http import safe_path
from notifications.delivery.explanations import prepare_names
from notifications.delivery.sending.queue import CORP_SECRETS
from notifications.models import Attachment, Delivery, Receipt
from notifications.models.deliveries import tidy_mark

PAGE_SIZE = 20
UNREAD_COUNTED = 99
WORDS_CHARACTERS = 64


@dataclass(frozen=True)
class Page:
    """A page of a person's messages, newest first. `older_than`: where the next page begins, None on the last."""

    receipts: list[Receipt]
    older_than: int | None


def messages_of(person: User, *, older_than: int | None = None, words: str = "") -> Page:
    """Return at most PAGE_SIZE messages of the person, newest first. `older_than`: from the page before.

    `words`: only messages with this text in title or body, ignoring case.
    """
    unneeded = ("body", "plain_body", *CORP_SECRETS)
    receipts = prepare_names(_find_arrived(person).select_related("delivery__corp"), path="run__").order_by("-pk")
    receipts = receipts.defer(*(f"delivery__{name}" for name in unneeded))
    if older_than is not None:
        receipts = receipts.filter(pk__lt=older_than)
    if words:
        receipts = receipts.filter(Q(delivery__title__icontains=words) | Q(delivery__text__icontains=words))
    found = list(receipts[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    return Page(page, page[-1].pk if len(found) > PAGE_SIZE else None)


def unread_count(person: User) -> int:
    """Count the messages that the person has not opened, up to one more than UNREAD_COUNTED."""
    return len(_find_arrived(person).filter(read_at__isnull=True).values_list("pk")[: UNREAD_COUNTED + 1])


def receipt_for(person: User, *, mark: str) -> Receipt | None:
    """Return the person's own receipt of the message with this mark.

    It is found also during sending: the phone shows a message before we have read WeCom's answer.
    """
    return (
        Receipt.objects.select_related("delivery__content").filter(user=person, delivery__mark=tidy_mark(mark)).first()
    )


def attachments_of(delivery: Delivery) -> list[Attachment]:
    """Return pictures and files on the page of a message, without their bytes."""
    rows = Attachment.objects.filter(delivery=delivery).select_related("medium").order_by("position")
    return list(rows.defer("medium__content", "medium__svg", "medium__recipe"))


def tidy_words(words: str) -> str:
    """Return the words to search for. PostgreSQL fails on a NUL, so it is removed."""
    return words.replace("\x00", "").strip()[:WORDS_CHARACTERS]


def mark_read(receipt: Receipt, *, now: datetime) -> None:
    """Store the first time that the person opened the message."""
    Receipt.objects.filter(pk=receipt.pk, read_at__isnull=True).update(read_at=now)


def link_target(link: str) -> str:
    """Return `link` if it is an http or https address or a page of this site, else an empty string."""
    if link.startswith("/"):
        return link if safe_path(link) == link else ""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    return link if parts.scheme in {"http", "https"} and parts.netloc else ""


def _find_arrived(person: User) -> QuerySet[Receipt]:
    return Receipt.objects.arrived().filter(user=person)
