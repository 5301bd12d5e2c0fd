"""The limiter against a real Valkey: with a clock that the test moves, and with racing processes and threads."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.delivery.limiter import AppLimits, Gate, PastCall, Permit, Request, Scope, StoreLostError

LEASE_SECONDS = 30
NOON = round(datetime(2026, 11, 24, 4, tzinfo=UTC).timestamp() * 1000)  # in Shanghai
COMPANY = Scope("company:ww1:send", per_minute=5, parallel=3)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(valkey_client: redis.Redis, clock: Clock) -> Gate:
    gate = Gate(valkey_client, lease_seconds=LEASE_SECONDS, now_ms=clock)
    assert gate.restore([])
    return gate


def make_request(number: int, *scopes: Scope, **fields: Any) -> Request:
    return Request(str(number), scopes or (COMPANY,), **fields)


def acquire_all(gate: Gate, *requests: Request) -> list[Permit]:
    """Return the permits of these requests, all of which must be granted."""
    answers = gate.acquire(requests)
    permits = [answer for answer in answers if isinstance(answer, Permit)]
    assert len(permits) == len(requests), answers
    return permits


def test_a_window_is_full_until_sixty_seconds_after_the_first_call_ended(gate: Gate, clock: Clock) -> None:
    for number in range(5):
        gate.release(acquire_all(gate, make_request(number)))
        clock.advance(1)

    [wait] = gate.acquire([make_request(6)])

    assert wait == pytest.approx(55.01, abs=0.001)
    clock.advance(55)
    assert gate.acquire([make_request(6)]) == [0.05]
    clock.advance(0.02)
    acquire_all(gate, make_request(6))
    assert gate.acquire([make_request(7)]) == [pytest.approx(1, abs=0.05)]


def test_calls_under_way_are_limited_and_make_room_when_they_end(gate: Gate) -> None:
    permits = acquire_all(gate, make_request(1), make_request(2), make_request(3))
    assert gate.acquire([make_request(4)]) == [0.05]

    gate.release(permits[:1])

    acquire_all(gate, make_request(4))
    assert gate.acquire([make_request(5)]) == [0.05]


def test_the_places_of_a_killed_worker_come_back_when_its_leases_end(gate: Gate, clock: Clock) -> None:
    acquire_all(gate, make_request(1), make_request(2), make_request(3))

    clock.advance(LEASE_SECONDS - 0.001)
    assert gate.acquire([make_request(4)]) == [0.05]
    clock.advance(0.001)
    acquire_all(gate, make_request(4), make_request(5))

    # They may have arrived at WeCom at the end of their lease, so they count until then.
    [wait] = gate.acquire([make_request(6)])
    assert wait == pytest.approx(60.01, abs=0.001)


def test_a_call_must_find_room_in_each_of_its_scopes(gate: Gate) -> None:
    address = Scope("address:default:send", per_minute=2)
    other = Scope("company:ww2:send", per_minute=5)

    acquire_all(gate, make_request(1, address, COMPANY), make_request(2, address, COMPANY))

    [wait] = gate.acquire([make_request(3, address, other)])
    assert isinstance(wait, float)
    acquire_all(gate, make_request(4, other))
    assert gate.find_rooms([address, other, COMPANY], within_seconds=0) == {address: 0, other: 4, COMPANY: 3}


class TestHours:
    """Limits per hour. They count whole minutes, so an hour lasts up to a minute and a lease longer than at WeCom."""

    SCOPE = Scope("company:ww1:send", per_hour=3)

    def test_the_wait_is_until_the_oldest_minute_has_left(self, gate: Gate, clock: Clock) -> None:
        gate.release(acquire_all(gate, make_request(1, self.SCOPE)))
        clock.advance(600)
        gate.release(acquire_all(gate, make_request(2, self.SCOPE), make_request(3, self.SCOPE)))
        clock.advance(600)

        [wait] = gate.acquire([make_request(4, self.SCOPE)])

        assert isinstance(wait, float)
        assert wait == pytest.approx(3600 + 60 + LEASE_SECONDS - 1200, abs=1)
        clock.advance(wait)
        acquire_all(gate, make_request(4, self.SCOPE))
        assert isinstance(gate.acquire([make_request(5, self.SCOPE)])[0], float)

    def test_room_is_the_smaller_of_both(self, gate: Gate) -> None:
        wide = Scope("company:ww2:send", per_minute=100, per_hour=3)
        acquire_all(gate, make_request(1, self.SCOPE), make_request(2, wide))

        assert gate.find_rooms([self.SCOPE, wide], within_seconds=2) == {self.SCOPE: 2, wide: 2}

    def test_a_lost_store_begins_with_the_calls_of_the_hour_and_keeps_no_older_ones(
        self, gate: Gate, clock: Clock, valkey_client: redis.Redis
    ) -> None:
        valkey_client.flushdb()
        past = [PastCall(make_request(number, self.SCOPE), ended_seconds_ago=1800 * number) for number in range(2)]

        assert gate.restore(past)

        acquire_all(gate, make_request(7, self.SCOPE))
        assert isinstance(gate.acquire([make_request(8, self.SCOPE)])[0], float)
        clock.advance(3600 + LEASE_SECONDS + 60)
        acquire_all(gate, make_request(9, self.SCOPE))
        assert valkey_client.hlen("push:limit:company:ww1:send:hour") <= 2

    @given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 4)), min_size=1, max_size=25))
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_hour_at_wecom_holds_more(self, valkey_client: redis.Redis, steps: list[tuple[int, int]]) -> None:
        """Calls arrive at WeCom at the beginning or at the end of their lease."""
        valkey_client.flushdb()
        clock = Clock()
        gate = Gate(valkey_client, lease_seconds=LEASE_SECONDS, now_ms=clock)
        gate.restore([])
        arrivals: list[float] = []
        for number, (seconds, calls) in enumerate(steps):
            clock.advance(seconds)
            answers = gate.acquire([make_request(number * 10 + call, self.SCOPE) for call in range(calls)])
            late = LEASE_SECONDS * 1000 if number % 2 else 0
            arrivals += [clock.now + late for answer in answers if isinstance(answer, Permit)]

        arrivals.sort()
        in_an_hour = [sum(start <= other < start + 3_600_000 for other in arrivals) for start in arrivals]
        assert max(in_an_hour) <= self.SCOPE.per_hour


def test_an_unused_permit_gives_its_room_back(gate: Gate) -> None:
    budget = AppLimits("ww1:1", per_day=10)
    permits = acquire_all(gate, *(make_request(n, app=budget, persons=3) for n in range(3)))

    gate.cancel(permits[:2])

    assert gate.find_rooms([COMPANY], within_seconds=0)[COMPANY] == 4
    assert gate.count_used_today([budget]) == [3]


@pytest.mark.parametrize("limits", [{"per_minute": 10, "parallel": 10}, {"per_hour": 10}])
def test_the_reserved_share_is_for_urgent_calls(gate: Gate, limits: dict[str, int]) -> None:
    scope = Scope("company:ww1:send", **limits, reserved_percent=20)

    acquire_all(gate, *(make_request(number, scope) for number in range(8)))

    [ordinary, urgent] = gate.acquire([make_request(9, scope), make_request(10, scope, is_urgent=True)])
    assert isinstance(ordinary, float)
    assert isinstance(urgent, Permit)
    assert gate.find_rooms([scope], within_seconds=0)[scope] == 0
    assert gate.find_rooms([scope], within_seconds=0, is_urgent=True)[scope] == 1


@pytest.mark.parametrize("limits", [{"per_minute": 1}, {"per_hour": 1}])
def test_a_limit_of_one_call_leaves_room_for_an_ordinary_call(gate: Gate, limits: dict[str, int]) -> None:
    scope = Scope("company:ww1:send", **limits, reserved_percent=2)

    assert gate.find_rooms([scope], within_seconds=0)[scope] == 1
    acquire_all(gate, make_request(1, scope))
    assert gate.find_rooms([scope], within_seconds=0)[scope] == 0


def test_a_hold_stops_everybody_until_it_ends(gate: Gate, clock: Clock) -> None:
    gate.hold_scopes([COMPANY], seconds=60)

    assert gate.acquire([make_request(1, is_urgent=True)]) == [60.0]
    assert gate.find_rooms([COMPANY], within_seconds=10)[COMPANY] == 0
    assert gate.find_rooms([COMPANY], within_seconds=60)[COMPANY] == 5
    clock.advance(60)
    acquire_all(gate, make_request(1))


def test_after_too_many_at_once_half_as_many_are_let_through(gate: Gate, clock: Clock) -> None:
    scope = Scope("company:ww1:send", parallel=300)
    permits = acquire_all(gate, *(make_request(number, scope) for number in range(9)))

    gate.hold_scopes([scope], seconds=1, halves_parallel=True)
    clock.advance(1)

    gate.release(permits[:5])
    assert gate.acquire([make_request(10, scope)]) == [0.05]
    gate.release(permits[5:6])
    acquire_all(gate, make_request(10, scope))


def test_a_member_is_not_written_to_more_often_than_wecom_delivers(gate: Gate, clock: Clock) -> None:
    wide, member = Scope("company:ww1:send"), AppLimits("ww1:1", per_minute=3, per_hour=5)

    def to(number: int, *members: str) -> Request:
        return make_request(number, wide, app=member, members=members)

    for number in range(3):
        gate.release(acquire_all(gate, to(number, "lilei")))
        clock.advance(1)

    # A call that WeCom may get at the end of its lease counts that much longer.
    assert gate.acquire([to(4, "lilei")]) == [pytest.approx(57.01 + LEASE_SECONDS, abs=0.01)]
    assert gate.acquire([to(4, "han", "lilei")]) == [pytest.approx(57.01 + LEASE_SECONDS, abs=0.01)]
    acquire_all(gate, to(5, "han"))
    waits = gate.find_member_waits(member, ["lilei", "han", "jim"])
    assert waits == [pytest.approx(57.01 + LEASE_SECONDS, abs=0.01), 0, 0]
    clock.advance(60 + LEASE_SECONDS)
    acquire_all(gate, to(6, "lilei"), to(7, "lilei"))
    clock.advance(120)
    assert gate.find_member_waits(member, ["lilei"]) == [pytest.approx(3600 - 213 + LEASE_SECONDS, abs=0.1)]


def test_nothing_was_counted_for_a_call_that_one_member_held_back(gate: Gate) -> None:
    member = AppLimits("ww1:1", per_minute=1)
    acquire_all(gate, make_request(1, app=member, members=("lilei",)))

    [wait] = gate.acquire([make_request(2, app=member, members=("han", "lilei"))])

    assert isinstance(wait, float)
    assert gate.find_member_waits(member, ["han"]) == [0]
    assert gate.find_rooms([COMPANY], within_seconds=0)[COMPANY] == 4


def test_a_days_budget_counts_people_and_ends_at_midnight_in_china(gate: Gate, clock: Clock) -> None:
    wide, budget = Scope("company:ww1:send"), AppLimits("ww1:1", per_day=100)

    def to(number: int, persons: int) -> Request:
        return make_request(number, wide, app=budget, persons=persons)

    acquire_all(gate, to(1, 70), to(2, 30))
    assert gate.acquire([to(3, 1)]) == [12 * 3600]
    acquire_all(gate, make_request(5, wide, app=AppLimits("ww2:1"), persons=1000))  # counted without a limit, too
    assert gate.count_used_today([budget, AppLimits("ww2:1")]) == [100, 1000]
    clock.advance(12 * 3600)
    # A message larger than a day's budget gets a day of its own; otherwise it would wait for ever.
    acquire_all(gate, to(3, 150))
    assert gate.acquire([to(4, 1)]) == [24 * 3600]


def test_the_reserved_share_of_a_day_is_for_urgent_calls(gate: Gate) -> None:
    wide, budget = Scope("company:ww1:send"), AppLimits("ww1:1", per_day=100, reserved_percent=3)

    acquire_all(gate, make_request(1, wide, app=budget, persons=90), make_request(2, wide, app=budget, persons=7))

    assert gate.acquire([make_request(3, wide, app=budget, persons=1)]) == [12 * 3600]
    acquire_all(gate, make_request(4, wide, app=budget, persons=3, is_urgent=True))
    assert gate.acquire([make_request(5, wide, app=budget, persons=1, is_urgent=True)]) == [12 * 3600]


def test_an_emptied_store_is_noticed_by_every_question(gate: Gate, valkey_client: redis.Redis) -> None:
    valkey_client.flushdb()

    for question in (
        lambda: gate.acquire([make_request(1)]),
        lambda: gate.find_rooms([COMPANY], within_seconds=0),
        lambda: gate.count_used_today([AppLimits("ww1:1")]),
        lambda: gate.find_member_waits(AppLimits("ww1:1", 30, 1000), ["lilei"]),
    ):
        with pytest.raises(StoreLostError):
            question()


def test_an_emptied_store_begins_from_the_calls_that_are_known(gate: Gate, valkey_client: redis.Redis) -> None:
    valkey_client.flushdb()
    app = AppLimits("ww1:1", per_minute=1)
    known = {"app": app, "members": ("lilei",), "persons": 1}
    past = [PastCall(make_request(number, **known), ended_seconds_ago=10 * number) for number in range(1, 4)]
    past += [
        PastCall(make_request(4, **known), ended_seconds_ago=-5),
        PastCall(make_request(5, **known), 3000, is_today=False),
    ]

    assert gate.restore(past)

    assert gate.find_rooms([COMPANY], within_seconds=0)[COMPANY] == 1
    assert gate.count_used_today([app]) == [4]
    assert gate.find_member_waits(app, ["lilei"]) == [pytest.approx(60.01 + LEASE_SECONDS, abs=0.01)]
    acquire_all(gate, make_request(6))
    [wait] = gate.acquire([make_request(7)])
    assert wait == pytest.approx(30.01, abs=0.001)


def test_of_many_workers_one_restores(gate: Gate, valkey_client: redis.Redis) -> None:
    valkey_client.flushdb()
    other = Gate(valkey_client, lease_seconds=LEASE_SECONDS)

    def while_it_restores() -> Iterator[PastCall]:
        assert not other.restore([])
        yield PastCall(make_request(1), ended_seconds_ago=1)

    assert gate.restore(while_it_restores())
    assert gate.restore([PastCall(make_request(2), ended_seconds_ago=1)])  # known already: nothing is added
    assert gate.find_rooms([COMPANY], within_seconds=0)[COMPANY] == 4


# Steps of a worker: begin calls (how many), end the oldest call, let time pass (seconds).
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(1, 4)),
        st.tuples(st.just("end"), st.integers(1, 3)),
        st.tuples(st.just("pass"), st.sampled_from([0.001, 0.5, 7, 29.9, 30, 59.99, 60, 61])),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS, arrivals=st.randoms(use_true_random=False))
def test_no_window_of_sixty_seconds_ever_holds_too_many_arrivals(
    valkey_client: redis.Redis, steps: list[tuple[str, Any]], arrivals: Any
) -> None:
    """A call arrives at WeCom at some moment between its permit and its end, or the end of its lease."""
    valkey_client.flushdb()
    clock = Clock()
    gate = Gate(valkey_client, lease_seconds=LEASE_SECONDS, now_ms=clock)
    gate.restore([])
    flying: list[tuple[Permit, int]] = []
    spans: list[tuple[int, int]] = []
    number = 0
    for step, value in steps:
        if step == "begin":
            answers = gate.acquire([make_request(number + n) for n in range(value)])
            number += value
            flying += [(answer, clock.now) for answer in answers if isinstance(answer, Permit)]
            alive = [began for _permit, began in flying if began + LEASE_SECONDS * 1000 > clock.now]
            assert len(alive) <= COMPANY.parallel
        elif step == "end":
            ended, flying = flying[:value], flying[value:]
            gate.release(permit for permit, _began in ended)
            spans += [(began, min(clock.now, began + LEASE_SECONDS * 1000)) for _permit, began in ended]
        else:
            clock.advance(value)
    spans += [(began, began + LEASE_SECONDS * 1000) for _permit, began in flying]
    moments = sorted(arrivals.randint(began, end) for began, end in spans)
    for position, moment in enumerate(moments):
        in_window = [other for other in moments[position:] if other < moment + 60_000]
        assert len(in_window) <= COMPANY.per_minute


def test_every_window_is_forgotten_when_nobody_uses_it(gate: Gate, valkey_client: redis.Redis) -> None:
    app = AppLimits("ww1:1", 30, 1000)
    gate.release(acquire_all(gate, make_request(1, app=app, members=("lilei",), persons=1)))

    lives = {key: valkey_client.pttl(key) for key in valkey_client.keys("push:limit:*")}

    assert {key: life > 0 for key, life in lives.items()} == {
        b"push:limit:company:ww1:send": True,
        b"push:limit:member:ww1:1:lilei": True,
        b"push:limit:day:ww1:1:20781": True,
        b"push:limit:ready": False,
    }
