"""Searches messages by words in their titles. In many a long log the same few titles stand again and again."""

from __future__ import annotations

from django.db import connection
from django.db.models import Q, QuerySet

from notifications.models import Delivery

# More different titles than these are not looked through one by one: that would only add to the search of all.
TITLES_AT_MOST = 1_000
# Words are frequent where the newest messages, so many of them, fill a page with those that hold the words.
NEWEST = 10_000
FILLS_A_PAGE = 51
# From each title to the next one in the index `delivery_title`, past all messages between. Django has no such query.
_NEXT_TITLES = """
    WITH RECURSIVE walk (title, number) AS (
        SELECT min(title), 1 FROM notifications_delivery
        UNION ALL
        SELECT (SELECT min(later.title) FROM notifications_delivery later WHERE later.title > walk.title), number + 1
        FROM walk WHERE title IS NOT NULL AND number <= %s
    )
    SELECT title FROM walk WHERE title IS NOT NULL
"""


def holding(words: str) -> Q:
    """The condition on messages whose title holds `words`: by the titles themselves where there are few different ones.

    At most one query. Where no title holds them nothing is found, and Django asks for nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_TITLES, [TITLES_AT_MOST])
        titles = [title for (title,) in cursor.fetchall()]
    if len(titles) > TITLES_AT_MOST:
        return Q(title__contains=words)
    return Q(title__in=[title for title in titles if words in title])


def are_frequent(found: QuerySet[Delivery]) -> bool:
    """Whether enough of `found` are among the newest messages. Then the database fills a page long before it has read
    all messages, and must not gather the keys of all that are found first. False for a log that is not longer."""
    # As a value: of a subquery's the database does not know how few messages come after it.
    last = Delivery.objects.order_by("-pk").values_list("pk", flat=True)[NEWEST : NEWEST + 1].first()
    if last is None:
        return False
    newest = found.filter(pk__gt=last).order_by()
    return len(newest.values_list("pk", flat=True)[:FILLS_A_PAGE]) == FILLS_A_PAGE
