"""Paginates long lists without counting all rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator

if TYPE_CHECKING:
    from django.db.models import QuerySet

    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

# The lists lead no further than this: beyond, a search or a filter finds more than leafing does.
ROWS_COUNTED = 1_000


class CappedPaginator(PaginatorBase):
    """Counts up to ROWS_COUNTED rows: a full count of a log of millions would take longer than the page."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin passes querysets only
        # Only the keys: annotations of the list, such as counts, need not be computed here.
        return rows.order_by().values("pk")[:ROWS_COUNTED].count()


def read_newest_first(rows: QuerySet[Any], *, at_once: int) -> Iterator[Any]:
    """Yield the rows, so many read by one query: however slowly a download goes, no cursor or transaction stays open,
    and no more than those are in memory."""
    rows = left = rows.order_by("-pk")
    while part := list(left[:at_once]):
        yield from part
        left = rows.filter(pk__lt=part[-1].pk)


@dataclass(frozen=True)
class KeysetPage:
    """Some rows of a long list in the order of their keys, and where the pages around begin: no row is counted, and
    none before is read. `before` and `after`: keys for `keyset_page`, None where there is nothing."""

    rows: list[Any]
    before: int | None
    after: int | None


def keyset_page(rows: QuerySet[Any], *, before: int | None = None, after: int | None = None, size: int) -> KeysetPage:
    """The first `size` rows; those next to the key `after`, or those up to the key `before`."""
    if before is not None:
        found = list(rows.filter(pk__lt=before).order_by("-pk")[: size + 1])
        has_more, page = len(found) > size, found[:size][::-1]
        return KeysetPage(page, page[0].pk if page and has_more else None, page[-1].pk if page else before - 1)
    found = list((rows if after is None else rows.filter(pk__gt=after)).order_by("pk")[: size + 1])
    page = found[:size]
    return KeysetPage(
        page, page[0].pk if page and after is not None else None, page[-1].pk if len(found) > size else None
    )
