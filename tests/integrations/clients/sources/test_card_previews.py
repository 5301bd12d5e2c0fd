"""The data of cards for somebody who waits at a page: requested, waited for, ready, failed, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.utils import translation

from integrations.datasources import fetch as datasources_fetch
from integrations.datasources.fetch import DataPreview
from integrations.models import Card, CardData
from integrations.tasks import fetch_card_data
from tests.guandata import GuandataAnswers
from tests.integrations.clients.sources.place import NOW, SLOT, Clock, make_card, make_source

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_english() -> Iterator[None]:
    with translation.override("en"):
        yield


def ask(clock: Clock, *cards: Card) -> str:
    return datasources_fetch.request_preview(cards, now=clock())


def read(token: str, clock: Clock, *cards: Card) -> DataPreview:
    return datasources_fetch.read_preview(token, cards, now=clock())


def fetch(clock: Clock) -> None:
    """Do what the queue's workers do."""
    for row in CardData.objects.due(clock()):
        datasources_fetch.carry_out(row_id=row.pk, clock=clock)


def test_what_is_asked_for_is_waited_for_and_then_there(bi: GuandataAnswers, clock: Clock) -> None:
    bi.gives("card_data")
    card = make_card()

    token = ask(clock, card)
    assert read(token, clock, card).seconds == 0
    clock.advance(seconds=3)
    waiting = read(token, clock, card)

    assert (waiting.is_there, waiting.token, waiting.seconds, waiting.hindrance) == (False, token, 3, "")
    assert bi.calls("card_data") == 0
    fetch(clock)
    found = read(token, clock, card)
    assert (found.is_there, found.token, found.problem) == (True, "", "")
    assert found.tables[card.pk].rows == (("华东", 128.5), ("华南", 96))
    row = CardData.objects.get()
    assert (row.slot_at, row.notified_at) == (None, clock())


def test_nothing_to_ask_for_is_there_at_once(clock: Clock) -> None:
    found = read(ask(clock), clock)

    assert (found.is_there, found.tables) == (True, {})
    assert not CardData.objects.exists()


def test_several_cards_are_there_once_all_are_and_one_that_fails_ends_the_waiting(
    bi: GuandataAnswers, clock: Clock
) -> None:
    bi.gives("card_data")
    bi.gives("card_data")
    bi.gives("card_data", b"<html>")
    first = make_card()
    second = make_card(first.source, name="另一张")
    token = ask(clock, first, second)

    fetch_card_data(CardData.objects.get(card=first).pk)
    assert read(token, clock, first, second).token == token
    fetch_card_data(CardData.objects.get(card=second).pk)

    assert set(read(token, clock, first, second).tables) == {first.pk, second.pk}
    token = ask(clock, first, second)
    fetch_card_data(CardData.objects.filter(card=first).latest("pk").pk)
    assert "“区域销售额”" in read(token, clock, first, second).problem


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"busy", 503, "answers with an error of its own (HTTP 503)"),
        (b"<html>", 200, "is not of the form that was expected"),
        (requests.ReadTimeout(), 200, "took longer than 30 seconds. Ask for less, or raise its time limit."),
        (requests.ConnectionError(), 200, "The data source gave no answer."),
    ],
)
def test_a_source_that_fails_is_asked_once_and_the_sentence_says_what_to_do(
    bi: GuandataAnswers, clock: Clock, answer: Any, status: int, said: str
) -> None:
    bi.gives("card_data", answer, status=status)
    card = make_card()
    token = ask(clock, card)

    fetch(clock)
    clock.advance(minutes=5)
    fetch(clock)

    found = read(token, clock, card)
    assert said in found.problem
    assert "“区域销售额”" in found.problem
    assert (found.token, found.is_there, found.tables) == ("", False, {})
    assert bi.calls("card_data") == 1


class TestNoWorker:
    def test_is_said_after_some_seconds_and_heals_by_itself(self, bi: GuandataAnswers, clock: Clock) -> None:
        bi.gives("card_data")
        card = make_card()
        token = ask(clock, card)

        clock.advance(seconds=9)
        assert read(token, clock, card).hindrance == ""
        clock.advance(seconds=1)
        late = read(token, clock, card)

        assert late.hindrance.startswith("No worker has taken it yet: does one take from the queue “data”")
        assert late.token == token
        fetch(clock)
        assert read(token, clock, card).is_there

    def test_ends_the_waiting_at_last(self, clock: Clock) -> None:
        card = make_card(make_source(timeout_seconds=20))
        token = ask(clock, card)

        clock.advance(seconds=79)
        assert read(token, clock, card).token == token
        clock.advance(seconds=1)
        given_up = read(token, clock, card)

        assert given_up.problem.startswith("Given up after 80 seconds. No worker has taken it yet")
        assert given_up.token == ""

    @pytest.mark.parametrize(
        ("sources", "said"),
        [
            ([{"name": "慢", "parallel_limit": 1}], "the data source “慢” is busy with other queries."),
            (
                [{"name": f"慢 {number}", "slow_since": NOW} for number in range(datasources_fetch.SLOW_PLACES + 1)],
                "the data source “慢 2” was too slow last time, and such sources are asked only a few at once.",
            ),
            ([{"name": "忙"}, {"name": "闲"}], "the workers of the queue “data” are busy with other data."),
        ],
    )
    def test_what_it_waits_for_is_named(self, clock: Clock, sources: list[dict[str, Any]], said: str) -> None:
        made = [make_source(**values) for values in sources]
        asked = made * 2 if len(made) == 1 else made
        cards = [make_card(one, name=f"{number}") for number, one in enumerate(asked)]
        token = ask(clock, *cards)
        for row in CardData.objects.order_by("pk")[: len(cards) - 1]:
            assert datasources_fetch._claim(row.pk, clock()) is not None

        clock.advance(seconds=11)

        assert read(token, clock, cards[-1]).hindrance == f"It waits for its turn: {said}"


def test_a_worker_that_never_ends_does_not_keep_the_page_waiting(clock: Clock) -> None:
    card = make_card(make_source(timeout_seconds=20))
    token = ask(clock, card)
    assert datasources_fetch._claim(CardData.objects.get().pk, clock()) is not None

    clock.advance(seconds=79)
    assert (read(token, clock, card).hindrance, read(token, clock, card).token) == ("", token)
    clock.advance(seconds=1)

    assert read(token, clock, card).problem == (
        "Given up after 80 seconds. The worker that fetches it says nothing more: it may have been ended. Try again."
    )


class TestWhose:
    def test_a_token_shows_no_card_that_it_was_not_for(self, bi: GuandataAnswers, clock: Clock) -> None:
        bi.gives("card_data")
        mine = make_card()
        other = make_card(mine.source, name="另一张")
        token = ask(clock, mine)
        ask(clock, other)
        fetch(clock)

        assert read(token, clock, other).tables == {}
        assert read(token, clock, mine, other).tables == {}

    @pytest.mark.parametrize("token", ["nonsense", "-1", "²", "9" * 5000, "", "1,2,x"])
    def test_what_is_no_token_shows_nothing(self, clock: Clock, token: str) -> None:
        found = read(token, clock, make_card())

        assert (found.is_there, found.token, found.problem[:7]) == (False, "", "This is")

    def test_it_shows_no_data_of_a_report_and_is_good_for_an_hour(self, clock: Clock) -> None:
        card = make_card()
        datasources_fetch.request([card.pk], slot_at=SLOT, now=clock())
        assert "no longer there" in read(str(CardData.objects.get().pk), clock, card).problem

        token = ask(clock, card)
        assert CardData.objects.count() == 2
        clock.advance(hours=1)

        assert read(token, clock, card).problem == "This is no longer there. Press the button again."


class TestRows:
    def test_impatient_clicks_share_what_no_worker_has_begun(self, bi: GuandataAnswers, clock: Clock) -> None:
        bi.gives("card_data")
        card = make_card()

        tokens = [ask(clock, card) for _click in range(5)]
        fetch(clock)

        assert (CardData.objects.count(), bi.calls("card_data")) == (1, 1)
        assert all(read(token, clock, card).is_there for token in tokens)
        ask(clock, card)  # ready data may be old, so it is fetched anew
        assert CardData.objects.count() == 2

    def test_what_is_being_fetched_or_waits_for_long_is_not_shared(self, clock: Clock) -> None:
        card = make_card()
        ask(clock, card)
        clock.advance(seconds=60)
        ask(clock, card)
        assert datasources_fetch._claim(CardData.objects.latest("pk").pk, clock()) is not None
        ask(clock, card)

        assert CardData.objects.count() == 3

    def test_they_are_forgotten_after_an_hour_and_sooner_where_no_worker_came(
        self, bi: GuandataAnswers, clock: Clock
    ) -> None:
        bi.gives("card_data")
        card = make_card()
        ask(clock, card)
        fetch(clock)
        ask(clock, card)
        clock.advance(minutes=5, seconds=1)

        assert datasources_fetch.purge(now=clock()) == 1
        assert CardData.objects.get().status == "ready"
        clock.advance(minutes=55)
        assert datasources_fetch.purge(now=clock()) == 1

    def test_one_in_hand_is_not_forgotten_under_its_worker(self, clock: Clock) -> None:
        ask(clock, make_card())
        row = CardData.objects.get()
        clock.advance(minutes=4)
        assert datasources_fetch._claim(row.pk, clock()) is not None
        clock.advance(minutes=2)

        assert datasources_fetch.purge(now=clock()) == 0
