"""The search of messages by words in their titles: the same rows in the same order, however the database is asked."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from integrations.models import Corp
from notifications.admin import base
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/notifications/delivery/"
# How all keys stand in a statement about messages.
KEYS = 'FROM "notifications_delivery" U0'
# By how many different titles there may be, how many messages are the newest, how many of them fill a page, and how
# many keys are read: the defaults, for a short log, and each way of a long one.
WAYS = {
    "short": (1_000, 10_000, 51, 1_000),
    "few titles, frequent": (1_000, 8, 2, 3),
    "few titles, many keys": (1_000, 10_000, 51, 0),
    "many titles": (2, 10_000, 51, 1_000),
    "many titles, frequent": (2, 8, 2, 3),
    "many titles, many keys": (2, 10_000, 51, 0),
}
# From the oldest on, and for which of two companies. Nobody sends messages with the name of the old report any more.
TITLES = ["旧表 100%", "旧表 100", *(["日报7", "日报17", "周报_A", "周报BA"] * 5)]
WORDS = ["日报7", "7", "报", "旧表", "100%", "周报_", "没有这样的", "李雷"]


class Log:
    """Messages with TITLES, in turn to a person of the one company and to one of the other."""

    def __init__(self) -> None:
        self.corps = [make_corp(name="甲公司"), make_corp(name="乙公司")]
        self.patterns = [self._sent(corp) for corp in self.corps]
        self.add(TITLES)

    def _sent(self, corp: Corp) -> Delivery:
        run = make_run(
            make_subscription(make_person(corp, f"lilei{corp.pk}", name="李雷"), report=make_report(title="月表"))
        )
        render_run(run_id=run.pk, now=NOW)
        return Delivery.objects.get(run=run)

    def add(self, titles: Sequence[str]) -> None:
        for number, title in enumerate(titles):
            message = Delivery.objects.get(pk=self.patterns[number % 2].pk)
            message.pk, message.mark, message.title = None, uuid.uuid4().hex, title
            message.save(force_insert=True)

    def expected(self, words: str, corps: Sequence[Corp]) -> list[int]:
        """The newest first."""
        patterns = {one.pk for one in self.patterns if words == "李雷"}
        seen = Delivery.objects.filter(corp__in=corps).order_by("-pk").values_list("pk", "title")
        return [pk for pk, title in seen if words in title or pk in patterns]


@pytest.fixture
def log() -> Log:
    return Log()


def client_of(person: User) -> Client:
    client = Client(headers={"host": "localhost:3001"})
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def go(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    titles, newest, page, keys = WAYS[way]
    monkeypatch.setattr(base, "TITLES_AT_MOST", titles)
    monkeypatch.setattr(base, "NEWEST", newest)
    monkeypatch.setattr(base, "FILLS_A_PAGE", page)
    monkeypatch.setattr(base, "KEYS_AT_MOST", keys)


def found_by(client: Client, words: str, query: str = "") -> list[int]:
    return [row.pk for row in client.get(f"{LIST}?q={quote(words)}{query}").context["cl"].result_list]


def statements(client: Client, words: str) -> list[str]:
    """Those about messages alone."""
    found_by(client, words)
    with CaptureQueriesContext(connection) as captured:
        found_by(client, words)
    return [query["sql"] for query in captured if "notifications_delivery" in query["sql"]]


@pytest.mark.parametrize("way", WAYS)
def test_the_same_messages_are_found_in_each_way(log: Log, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    go(way, monkeypatch)
    root, manager = client_of(make_superuser()), client_of(make_manager(log.corps[1]))

    found = {words: (found_by(root, words), found_by(manager, words)) for words in WORDS}

    assert found == {words: (log.expected(words, log.corps), log.expected(words, log.corps[1:])) for words in WORDS}
    assert [len(found["没有这样的"][0]), len(found["旧表"][0]), len(found["旧表"][1]), len(found["7"][1])] == [
        0,
        2,
        1,
        5,
    ]
    assert len(found["李雷"][1]) == 1


@pytest.mark.parametrize("way", WAYS)
def test_what_is_found_keeps_its_filter_and_its_order(log: Log, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    go(way, monkeypatch)
    root = client_of(make_superuser())
    one = Delivery.objects.filter(title="日报17").earliest("pk")
    Delivery.objects.filter(pk=one.pk).update(status="failed")

    assert found_by(root, "7", "&status__exact=failed") == [one.pk]
    titles = [Delivery.objects.get(pk=pk).title for pk in found_by(root, "7", "&o=1")]
    assert titles == ["日报17"] * 5 + ["日报7"] * 5


@pytest.mark.parametrize("way", WAYS)
def test_the_search_over_all_shows_the_newest_messages(log: Log, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    go(way, monkeypatch)

    answer = client_of(make_superuser()).get(f"/admin/search/?q={quote('日报7')}")

    newest = log.expected("日报7", log.corps)[:5]
    assert [url for each in answer.context["found"] for _name, url in each.rows] == [
        f"{LIST}{pk}/change/" for pk in newest
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_longer_log_takes_no_more_statements(log: Log, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    go(way, monkeypatch)
    root = client_of(make_superuser())
    few = {words: len(statements(root, words)) for words in WORDS}

    log.add(["日报7", "日报17", "周报_C", "月报"] * 20)

    assert {words: len(statements(root, words)) for words in WORDS} == few


def test_where_titles_are_few_no_message_is_compared_with_the_words(log: Log) -> None:
    root = client_of(make_superuser())

    assert [sql for sql in statements(root, "7") if "LIKE" in sql] == []
    # One walk through the titles, and no look at messages: there are none.
    assert len(statements(root, "没有这样的")) == 1


def test_where_titles_are_many_each_is_compared(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    go("many titles", monkeypatch)

    assert [sql for sql in statements(client_of(make_superuser()), "7") if "LIKE" in sql]


def test_keys_of_frequent_messages_are_not_gathered(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    root = client_of(make_superuser())
    go("many titles, frequent", monkeypatch)
    frequent = statements(root, "日报7")

    log.add(["月报"] * 8)
    old = statements(root, "日报7")

    assert [sql for sql in frequent if KEYS in sql] == []
    assert [sql for sql in old if KEYS in sql]


def test_few_messages_are_found_by_their_keys_though_they_are_the_newest(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = client_of(make_superuser())
    go("many titles, frequent", monkeypatch)
    log.add(["特报"] * 3)

    asked = statements(root, "特报")

    assert len([sql for sql in asked if "LIKE" in sql]) == 1
    assert [sql for sql in asked if KEYS in sql] == []


def test_messages_of_other_companies_make_no_word_frequent(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the database would look through all messages for a page of those that one may see."""
    go("many titles, frequent", monkeypatch)
    log.add(["日报8", "月报"] * 4)
    manager = client_of(make_manager(log.corps[1]))

    assert found_by(manager, "日报8") == []
    assert [sql for sql in statements(manager, "日报8") if KEYS in sql]
