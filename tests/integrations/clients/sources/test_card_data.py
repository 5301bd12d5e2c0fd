"""Data of cards: one fetch for a slot and all readers, leases, retries, deletion, and people who wait at a page."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
import requests
from django.utils import translation

from integrations.data import Problem
from integrations.datasources import fetch
from integrations.datasources.fetch import DataPreview
from integrations.hooks import Hook
from integrations.models import Card, CardData, DataSource
from integrations.tasks import fetch_card_data, sweep_card_data
from tests.guandata import HOST, PASSWORD, TOKEN, GuandataAnswers
from tests.integrations.clients.sources.place import NOW, SLOT, Clock, make_card, make_source, row_of

pytestmark = pytest.mark.django_db
Told = list[tuple[int, Any, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Calls of a follower, with the state that it saw."""
    heard: Told = []
    monkeypatch.setattr(fetch, "card_data_finished", Hook())

    def follower(card_id: int, slot_at: Any) -> None:
        heard.append((card_id, slot_at, fetch.find_card_data([card_id], slot_at=slot_at)[card_id].status))

    fetch.card_data_finished.register(follower)
    return heard


def asked(card: Card) -> CardData:
    fetch.request_data([card.pk], slot_at=SLOT, now=NOW)
    return row_of(card)


def test_a_card_is_fetched_once_for_a_slot_and_its_table_is_shared(
    bi: GuandataAnswers, clock: Clock, told: Told
) -> None:
    bi.gives("card_data")
    card = make_card(units={"销售额": "万元"})

    for _subscription in range(3):
        fetch.request_data([card.pk, card.pk], slot_at=SLOT, now=clock())
    for _worker in range(3):
        fetch.fetch_row(row_id=row_of(card).pk, clock=clock)

    assert bi.calls("card_data") == 1
    state = fetch.find_card_data([card.pk], slot_at=SLOT)[card.pk]
    assert (state.status, state.problem, state.row_count, state.try_count) == ("ready", "", 2, 1)
    assert state.table.rows == (("华东", 128.5), ("华南", 96))
    assert [(one.name, one.kind, one.unit) for one in state.table.columns] == [
        ("区域", "text", ""),
        ("销售额", "number", "万元"),
    ]
    assert state.table.as_of == NOW
    assert told == [(card.pk, SLOT, "ready")]

    later = SLOT + timedelta(hours=1)
    assert fetch.find_card_data([card.pk], slot_at=later) == {}
    fetch.request_data([card.pk], slot_at=later, now=clock())
    fetch.fetch_row(row_id=CardData.objects.get(slot_at=later).pk, clock=clock)
    assert bi.calls("card_data") == 2


@pytest.mark.django_db(transaction=True)
def test_asking_queues_the_id_of_each_row_in_the_queue_of_data_and_again_where_it_was_lost(
    valkey_client: redis.Redis,
) -> None:
    url = "postgresql://robot:sim-source-secret@db.example.com/sales"
    source = make_source(name="仓库", kind="sql", sql_url=url)
    first, second = make_card(source, sql="SELECT secret_column FROM sales"), make_card(make_source(name="另一个"))

    fetch.request_data([first.pk, second.pk], slot_at=SLOT, now=NOW)
    fetch.request_preview([first], now=NOW)

    messages = valkey_client.lrange("data", 0, -1)
    assert (len(messages), valkey_client.llen("celery")) == (3, 0)
    for message in messages:
        assert b"integrations.fetch_card_data" in message
        assert b"sim-source-secret" not in message
        assert b"secret_column" not in message
    valkey_client.flushdb()
    sweep_card_data(NOW)
    assert valkey_client.llen("data") == 3
    valkey_client.flushdb()


def test_a_passing_failure_is_tried_again_later_each_time_after_a_longer_wait(
    bi: GuandataAnswers, clock: Clock, told: Told
) -> None:
    bi.gives("card_data", b"busy", status=503)
    row = asked(make_card())

    for number, wait in enumerate(fetch.RETRY_PAUSES, 1):
        fetch.fetch_row(row_id=row.pk, clock=clock)
        row.refresh_from_db()
        assert (row.status, row.try_count, row.next_try_at) == ("waiting", number, clock() + wait)
        fetch.fetch_row(row_id=row.pk, clock=clock)  # too early: nothing is fetched
        clock.advance(seconds=wait.total_seconds())
    assert bi.calls("card_data") == 4
    assert told == []
    fetch.fetch_row(row_id=row.pk, clock=clock)

    row.refresh_from_db()
    assert (row.status, row.try_count, row.problem_code) == ("failed", 5, "broken")
    assert told == [(row.card_id, SLOT, "failed")]
    assert row.problem == "The data source answers with an error of its own (HTTP 503). Try again later."


@pytest.mark.parametrize(
    ("status", "message", "problem"),
    [(404, "卡片不存在", "not-found"), (401, "token 无效", "not-admitted"), (7001, f"no {PASSWORD}", "refused")],
)
def test_what_waiting_does_not_mend_fails_at_once_with_a_sentence_and_no_secret(
    bi: GuandataAnswers, clock: Clock, status: int, message: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    bi.gives("card_data", {"result": "fail", "response": None, "error": {"status": status, "message": message}})
    row = asked(make_card())

    with caplog.at_level(logging.DEBUG):
        fetch.fetch_row(row_id=row.pk, clock=clock)

    row.refresh_from_db()
    assert (row.status, row.problem_code, row.try_count) == ("failed", problem, 1)
    everything = f"{row.problem} {row.problem_facts} {caplog.text}"
    for secret in (PASSWORD, TOKEN, HOST, "bi.example.com", message):
        assert secret not in everything


def test_a_source_that_is_off_is_not_asked(bi: GuandataAnswers, clock: Clock) -> None:
    card = make_card()
    type(card.source).objects.update(is_enabled=False)
    row = asked(card)

    fetch.fetch_row(row_id=row.pk, clock=clock)

    row.refresh_from_db()
    assert (row.status, row.problem_code) == ("failed", Problem.SOURCE_OFF)
    assert len(bi.wire.calls) == 0


def test_our_own_mistake_fails_the_row_and_says_so(bi: GuandataAnswers, clock: Clock, told: Told) -> None:
    bi.gives("card_data")
    row = asked(make_card(bi_filters=[{"unknown": 1}]))

    fetch.fetch_row(row_id=row.pk, clock=clock)

    row.refresh_from_db()
    assert (row.status, row.problem_code) == ("failed", "unexpected")
    assert row.problem == "The data could not be read because of an error in this program (KeyError)."
    assert told == [(row.card_id, SLOT, "failed")]


def release(row: CardData) -> None:
    CardData.objects.held_by(row.pk, row.lease_token).update(lease_token="", lease_until=None)


class TestLeases:
    def test_a_row_in_hand_is_left_alone_until_its_lease_ends(self, bi: GuandataAnswers, clock: Clock) -> None:
        bi.gives("card_data")
        row = asked(make_card())
        assert fetch._claim(row.pk, clock()) is not None  # and the worker dies

        fetch.fetch_row(row_id=row.pk, clock=clock)
        assert bi.calls("card_data") == 0
        clock.advance(seconds=fetch.LEASE.total_seconds())
        fetch.fetch_row(row_id=row.pk, clock=clock)

        row.refresh_from_db()
        assert (row.status, row.try_count) == ("ready", 2)

    def test_a_lease_is_renewed_while_its_fetch_lasts_and_is_ours(self, clock: Clock) -> None:
        row = asked(make_card())
        held = fetch._claim(row.pk, clock())
        assert held is not None
        renew = fetch._make_renewal(held, clock)

        clock.advance(seconds=15)
        renew()
        row.refresh_from_db()
        assert row.lease_until == clock() + fetch.LEASE

        clock.advance(seconds=fetch.LEASE.total_seconds())
        assert fetch._claim(row.pk, clock()) is not None
        ends_at = clock() + fetch.LEASE
        for seconds in (5, fetch.LEASED_AT_MOST.total_seconds()):  # it is another worker's, and no fetch lasts so long
            clock.advance(seconds=seconds)
            renew()
            row.refresh_from_db()
            assert row.lease_until == ends_at

    def test_a_worker_thought_dead_writes_nothing_and_tells_nobody(
        self, bi: GuandataAnswers, clock: Clock, told: Told
    ) -> None:
        bi.gives("card_data", {"result": "fail", "error": {"status": 404, "message": ""}})
        bi.gives("card_data")
        row = asked(make_card())
        late = fetch._claim(row.pk, clock())
        assert late is not None
        clock.advance(seconds=fetch.LEASE.total_seconds())
        second = fetch._claim(row.pk, clock())
        assert second is not None

        assert fetch._fetch(late, clock) is False
        release(late)
        row.refresh_from_db()
        assert (row.status, row.lease_token) == ("waiting", second.lease_token)
        assert fetch._fetch(second, clock) is True

        row.refresh_from_db()
        assert row.status == "ready"
        assert told == []

    def test_who_ran_into_the_time_limit_is_slow_until_an_answer_comes_in_time(
        self, bi: GuandataAnswers, clock: Clock
    ) -> None:
        for answer, status in ((requests.ReadTimeout(), 200), (b"busy", 503)):
            bi.gives("card_data", answer, status=status)
        bi.gives("card_data")
        make_source(name="慢", slow_since=NOW)
        row = asked(make_card())
        slow = []

        for seconds in (5, 20, 0):
            fetch.fetch_row(row_id=row.pk, clock=clock)
            slow.append(set(DataSource.objects.slow().values_list("name", flat=True)))
            clock.advance(seconds=seconds)

        assert slow == [{"慢", "观远"}, {"慢"}, {"慢"}]  # a failure that comes at once is not slow
        row.refresh_from_db()
        assert (row.status, row.problem, row.try_count) == ("ready", "", 3)

    @pytest.mark.parametrize(
        "sources", [[{"parallel_limit": 2}], [{"name": f"慢 {number}", "slow_since": NOW} for number in range(3)]]
    )
    def test_a_source_and_all_slow_ones_answer_so_many_at_once_and_others_are_not_held_up(
        self, bi: GuandataAnswers, clock: Clock, sources: list[dict[str, Any]]
    ) -> None:
        bi.gives("card_data")
        made = [make_source(**{"name": "慢", **values}) for values in sources]
        cards = [make_card(made[number % len(made)], name=f"卡片 {number}") for number in range(3)]
        other = make_card()
        fetch.request_data([card.pk for card in [*cards, other]], slot_at=SLOT, now=clock())
        held = [fetch._claim(row_of(card).pk, clock()) for card in cards]

        assert [one is not None for one in held] == [True, True, False]
        assert row_of(cards[2]).next_try_at == clock() + fetch.TURN_WAIT
        fetch.fetch_row(row_id=row_of(other).pk, clock=clock)
        assert row_of(other).status == "ready"

        assert held[0] is not None
        release(held[0])
        assert fetch._find_next_waiting(held[0].card.source, now=clock()) == [row_of(cards[2]).pk]
        assert fetch._claim(row_of(cards[2]).pk, clock()) is not None


class TestSweeping:
    def test_what_a_dead_worker_did_not_tell_is_told(self, clock: Clock, told: Told) -> None:
        row = asked(make_card())
        CardData.objects.update(status="failed", finished_at=clock())

        fetch.requeue_lost_rows(clock=clock)
        assert told == []
        clock.advance(seconds=30)
        fetch.requeue_lost_rows(clock=clock)
        fetch.requeue_lost_rows(clock=clock)

        assert told == [(row.card_id, SLOT, "failed")]

    def test_a_follower_that_stumbles_keeps_it_from_no_other(
        self, bi: GuandataAnswers, clock: Clock, told: Told
    ) -> None:
        def stumbling(_card_id: int, _slot_at: Any) -> None:
            raise RuntimeError("a mistake")

        bi.gives("card_data")
        fetch.card_data_finished.register(stumbling, place=-1)
        row = asked(make_card())

        fetch.fetch_row(row_id=row.pk, clock=clock)

        assert told == [(row.card_id, SLOT, "ready")]

    def test_old_data_is_forgotten_in_chunks(
        self, clock: Clock, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.CARD_DATA_RETENTION_DAYS = 3
        monkeypatch.setattr(fetch, "PURGED_AT_ONCE", 2)
        card = make_card()
        for hours in range(4):
            fetch.request_data([card.pk], slot_at=SLOT + timedelta(hours=hours), now=NOW + timedelta(hours=hours))

        clock.advance(days=3, hours=2, minutes=1)

        assert [fetch.delete_old_rows(now=clock()) for _tick in range(3)] == [2, 1, 0]
        assert CardData.objects.count() == 1


@pytest.fixture(autouse=True)
def _in_english() -> Iterator[None]:
    with translation.override("en"):
        yield


def ask(clock: Clock, *cards: Card) -> str:
    return fetch.request_preview(cards, now=clock())


def read(token: str, clock: Clock, *cards: Card) -> DataPreview:
    return fetch.read_preview(token, cards, now=clock())


def work(clock: Clock) -> None:
    """Do what the queue's workers do."""
    for row in CardData.objects.due(clock()):
        fetch.fetch_row(row_id=row.pk, clock=clock)


def test_what_is_asked_for_is_waited_for_and_then_there(bi: GuandataAnswers, clock: Clock) -> None:
    bi.gives("card_data")
    card = make_card()

    token = ask(clock, card)
    assert read(token, clock, card).seconds == 0
    clock.advance(seconds=3)
    waiting = read(token, clock, card)

    assert (waiting.is_ready, waiting.token, waiting.seconds, waiting.delay_reason) == (False, token, 3, "")
    assert bi.calls("card_data") == 0
    work(clock)
    found = read(token, clock, card)
    assert (found.is_ready, found.token, found.problem) == (True, "", "")
    assert found.tables[card.pk].rows == (("华东", 128.5), ("华南", 96))
    row = CardData.objects.get()
    assert (row.slot_at, row.notified_at) == (None, clock())


def test_nothing_to_ask_for_is_there_at_once(clock: Clock) -> None:
    found = read(ask(clock), clock)

    assert (found.is_ready, found.tables) == (True, {})
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

    work(clock)
    clock.advance(minutes=5)
    work(clock)

    found = read(token, clock, card)
    assert said in found.problem
    assert "“区域销售额”" in found.problem
    assert (found.token, found.is_ready, found.tables) == ("", False, {})
    assert bi.calls("card_data") == 1


class TestNoWorker:
    def test_is_said_after_some_seconds_and_heals_by_itself(self, bi: GuandataAnswers, clock: Clock) -> None:
        bi.gives("card_data")
        card = make_card()
        token = ask(clock, card)

        clock.advance(seconds=9)
        assert read(token, clock, card).delay_reason == ""
        clock.advance(seconds=1)
        late = read(token, clock, card)

        assert late.delay_reason.startswith("No worker has taken it yet. Check that a worker serves the queue “data”")
        assert late.token == token
        work(clock)
        assert read(token, clock, card).is_ready

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
                [{"name": f"慢 {number}", "slow_since": NOW} for number in range(fetch.SLOW_PLACES + 1)],
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
            assert fetch._claim(row.pk, clock()) is not None

        clock.advance(seconds=11)

        assert read(token, clock, cards[-1]).delay_reason == f"It waits for its turn: {said}"


def test_a_worker_that_never_ends_does_not_keep_the_page_waiting(clock: Clock) -> None:
    card = make_card(make_source(timeout_seconds=20))
    token = ask(clock, card)
    assert fetch._claim(CardData.objects.get().pk, clock()) is not None

    clock.advance(seconds=79)
    assert (read(token, clock, card).delay_reason, read(token, clock, card).token) == ("", token)
    clock.advance(seconds=1)

    assert read(token, clock, card).problem == (
        "Given up after 80 seconds. The worker that fetches it no longer answers: it may have been stopped. Try again."
    )


class TestWhose:
    def test_a_token_shows_no_card_that_it_was_not_for(self, bi: GuandataAnswers, clock: Clock) -> None:
        bi.gives("card_data")
        mine = make_card()
        other = make_card(mine.source, name="另一张")
        token = ask(clock, mine)
        ask(clock, other)
        work(clock)

        assert read(token, clock, other).tables == {}
        assert read(token, clock, mine, other).tables == {}

    @pytest.mark.parametrize("token", ["nonsense", "-1", "²", "9" * 5000, "", "1,2,x"])
    def test_what_is_no_token_shows_nothing(self, clock: Clock, token: str) -> None:
        found = read(token, clock, make_card())

        assert (found.is_ready, found.token, found.problem[:7]) == (False, "", "This is")

    def test_it_shows_no_data_of_a_report_and_is_good_for_an_hour(self, clock: Clock) -> None:
        card = make_card()
        fetch.request_data([card.pk], slot_at=SLOT, now=clock())
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
        work(clock)

        assert (CardData.objects.count(), bi.calls("card_data")) == (1, 1)
        assert all(read(token, clock, card).is_ready for token in tokens)
        ask(clock, card)  # ready data may be old, so it is fetched anew
        assert CardData.objects.count() == 2

    def test_what_is_being_fetched_or_waits_for_long_is_not_shared(self, clock: Clock) -> None:
        card = make_card()
        ask(clock, card)
        clock.advance(seconds=60)
        ask(clock, card)
        assert fetch._claim(CardData.objects.latest("pk").pk, clock()) is not None
        ask(clock, card)

        assert CardData.objects.count() == 3

    def test_they_are_forgotten_after_an_hour_and_sooner_where_no_worker_came_but_not_under_a_worker(
        self, bi: GuandataAnswers, clock: Clock
    ) -> None:
        bi.gives("card_data")
        card = make_card()
        ask(clock, card)
        work(clock)
        ask(clock, card)
        clock.advance(minutes=4)
        held = fetch._claim(CardData.objects.latest("pk").pk, clock())
        assert held is not None
        clock.advance(minutes=1, seconds=1)

        assert fetch.delete_old_rows(now=clock()) == 0
        release(held)
        assert fetch.delete_old_rows(now=clock()) == 1
        assert CardData.objects.get().status == "ready"
        clock.advance(minutes=55)
        assert fetch.delete_old_rows(now=clock()) == 1
