"""Pages of long lists, without counting millions of rows for each."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator

if TYPE_CHECKING:
    from django.db.models import QuerySet

    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

# The lists lead no further than this: beyond, a search or a filter finds more than leafing does.
ROWS_COUNTED = 10_000


class CappedPaginator(PaginatorBase):
    """Counts up to ROWS_COUNTED rows: a full count of a log of millions would take longer than the page."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin passes querysets only
        # Why only the keys? What the list shows beside a row, such as a count of its own, need not be worked out here.
        return rows.order_by().values("pk")[:ROWS_COUNTED].count()
