"""Stores of the limiter that lost their counts: emptied, restored from an old snapshot, or lost during a refill."""

import sysconfig
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import redis

from integrations.clients.transport import read_boot_clock
from notifications.delivery.limiter import AppLimits, Gate, PastCall, Permit, Request, Scope, StoreLostError
from tests.programs import needs
from tools.services import Service, start_valkey

# Not imported by name: its package has a function of the same name.
GATE = import_module("notifications.delivery.limiter")
COMPANY = Scope("company:ww1:send", per_minute=5)
APP = AppLimits("ww1:1", per_minute=2)


@pytest.fixture
def server() -> Iterator[Service]:
    """A Valkey that the test may kill. It reads its last saved snapshot when it comes back."""
    server = start_valkey()
    yield server
    server.stop()


@pytest.fixture
def store(server: Service) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as store:
        yield store


@pytest.fixture
def gate(store: redis.Redis) -> Gate:
    gate = Gate(store, lease_seconds=30)
    assert gate.restore([])
    return gate


def make_request(name: str) -> Request:
    return Request(name, (COMPANY,), app=APP, members=("lilei",), persons=1)


def acquire_all(gate: Gate, *names: str) -> list[Permit]:
    permits = [answer for answer in gate.acquire([make_request(name) for name in names]) if isinstance(answer, Permit)]
    assert len(permits) == len(names)
    return permits


def restart_with_old_snapshot(server: Service) -> None:
    server.kill()
    server.restart()


def test_a_store_that_comes_back_old_is_filled_from_the_calls_of_the_past(
    gate: Gate, server: Service, store: redis.Redis
) -> None:
    store.save()
    acquire_all(gate, "1.1", "2.1")

    restart_with_old_snapshot(server)

    with pytest.raises(StoreLostError):
        gate.acquire([make_request("3.1")])
    assert gate.restore([PastCall(make_request("1.1"), 1), PastCall(make_request("2.1"), 1)])
    [answer] = gate.acquire([make_request("3.1")])
    assert isinstance(answer, float)
    assert gate.count_used_today([APP]) == [2]


def test_what_the_old_snapshot_counted_is_not_counted_twice(gate: Gate, server: Service, store: redis.Redis) -> None:
    acquire_all(gate, "1.1")
    gate.hold_scopes([COMPANY], seconds=60)
    store.set("another:key", 1)
    store.save()

    restart_with_old_snapshot(server)
    gate.restore([PastCall(make_request("1.1"), 1)])

    assert gate.count_used_today([APP]) == [1]
    assert gate.find_member_waits(APP, ["lilei"]) == [0]
    assert gate.find_rooms([COMPANY], within_seconds=0)[COMPANY] == 0  # still held back: WeCom asked for it
    assert store.get("another:key") == b"1"


def test_another_history_of_replication_is_another_store(gate: Gate, store: redis.Redis) -> None:
    """Primaries that were replicas for a moment are still the same process, but may hold another server's data."""
    store.replicaof("127.0.0.1", "1")
    store.replicaof("NO", "ONE")

    with pytest.raises(StoreLostError):
        gate.acquire([make_request("1.1")])


def test_permits_of_a_store_that_was_lost_are_known_no_more(gate: Gate, store: redis.Redis) -> None:
    before = acquire_all(gate, "1.1")
    assert gate.are_known(before) == [True]

    store.flushall()
    assert gate.are_known(before) == [False]
    gate.restore([])

    assert gate.are_known([*before, *acquire_all(gate, "2.1")]) == [False, True]


def test_a_permit_of_a_lost_store_is_not_taken_out_of_the_new_one(gate: Gate, store: redis.Redis) -> None:
    old = acquire_all(gate, "1.1")
    store.flushall()
    gate.restore([PastCall(make_request("1.1"), 1)])

    gate.cancel(old)

    assert gate.count_used_today([APP]) == [1]
    assert gate.find_rooms([COMPANY], within_seconds=0)[COMPANY] == 4


@pytest.mark.parametrize("when", ["while it is emptied", "before the end"])
def test_a_store_that_is_lost_while_it_is_filled_is_not_called_full(when: str, gate: Gate, store: redis.Redis) -> None:
    store.flushall()

    def past() -> Iterator[PastCall]:
        if when == "while it is emptied":
            store.flushall()
        yield PastCall(make_request("1.1"), 1)
        if when == "before the end":
            store.flushall()

    assert not gate.restore(past())

    with pytest.raises(StoreLostError):
        gate.acquire([make_request("2.1")])
    assert gate.restore([PastCall(make_request("1.1"), 1)])


def test_who_was_thought_dead_while_filling_changes_nothing_any_more(gate: Gate, store: redis.Redis) -> None:
    store.flushall()

    def past() -> Iterator[PastCall]:
        store.delete("push:limit:restoring")  # the process was away longer than its lock lasts
        assert gate.restore([PastCall(make_request("1.1"), 1)])
        yield PastCall(make_request("2.1"), 1)

    assert not gate.restore(past())
    assert gate.count_used_today([APP]) == [1]


@needs("faketime")
@pytest.mark.parametrize("step", ["+50", "-660"])
def test_a_store_whose_clock_is_set_is_filled_from_the_calls_of_the_past(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows would end too early after a jump forward; nothing would begin after one back."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    library = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/faketime/libfaketime.so.1"
    with monkeypatch.context() as environ:
        environ.setenv("LD_PRELOAD", library)
        environ.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
        environ.setenv("FAKETIME_NO_CACHE", "1")
        environ.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        server = start_valkey()
    try:
        with redis.Redis.from_url(server.url) as store:
            gate = Gate(store, lease_seconds=30)
            assert gate.restore([])
            acquire_all(gate, "1.1", "2.1")
            gate.hold_scopes([Scope("robot:1")], seconds=120, halves_parallel=True)

            offset.write_text(step)

            # Valkey may use a cached time from just before.
            with pytest.raises(StoreLostError):
                [gate.find_rooms([COMPANY], within_seconds=0) for _ in range(100)]
            assert gate.restore([PastCall(make_request("1.1"), 1), PastCall(make_request("2.1"), 1)])
            assert gate.count_used_today([APP]) == [2]
            [wait] = gate.acquire([make_request("3.1")])
            assert isinstance(wait, float)
            assert 88 < wait < 90  # the member's limit: calls may arrive until their leases end
            [wait] = gate.acquire([Request("4.1", (Scope("robot:1"),))])
            assert isinstance(wait, float)
            assert 110 < wait <= 120
            assert 290 < store.ttl("push:limit:robot:1:ceiling") <= 300
    finally:
        server.stop()


def test_an_answer_that_comes_late_is_no_other_clock(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire_all(gate, "1.1")
    seconds = iter([0, 8, 8, 8])

    monkeypatch.setattr(GATE, "read_boot_clock", lambda: read_boot_clock() + next(seconds))

    assert gate.count_used_today([APP]) == [1]
    with pytest.raises(StoreLostError):
        gate.count_used_today([APP])


def test_who_missed_that_the_clock_was_set_goes_on_with_the_filled_store(
    gate: Gate, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Gate(store, lease_seconds=30)
    acquire_all(gate, "1.1")
    assert other.count_used_today([APP]) == [1]
    monkeypatch.setattr(GATE, "read_boot_clock", lambda: read_boot_clock() - 50)
    with pytest.raises(StoreLostError):
        gate.count_used_today([APP])

    assert gate.restore([PastCall(make_request("1.1"), 1)])

    assert other.count_used_today([APP]) == [1]
    acquire_all(gate, "2.1")
