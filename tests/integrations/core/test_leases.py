"""A lease that is renewed while its work lasts."""

from __future__ import annotations

import threading

import pytest
from django.db import DatabaseError

from integrations.core.background import lease_kept


def test_a_lease_is_renewed_again_and_again() -> None:
    renewed = threading.Semaphore(0)

    with lease_kept(renewed.release, seconds=0.001):
        assert all(renewed.acquire(timeout=20) for _ in range(3))


def test_a_block_that_is_left_waits_for_its_renewal_and_lets_no_other_run() -> None:
    begun, leaving = threading.Event(), threading.Event()
    renewing: list[threading.Thread] = []

    def renew() -> None:
        begun.set()
        assert leaving.wait(20)
        renewing.append(threading.current_thread())

    with lease_kept(renew, seconds=0.001):
        assert begun.wait(20)
        leaving.set()

    assert not renewing[0].is_alive()


def test_a_block_that_fails_ends_its_renewals_too() -> None:
    begun = threading.Event()
    renewing: list[threading.Thread] = []

    def renew() -> None:
        renewing.append(threading.current_thread())
        begun.set()

    def fail() -> None:
        with lease_kept(renew, seconds=0.001):
            assert begun.wait(20)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert not renewing[0].is_alive()


def test_work_that_is_done_soon_is_neither_renewed_nor_held_up() -> None:
    renewals: list[None] = []

    with lease_kept(lambda: renewals.append(None), seconds=3600):
        pass

    assert renewals == []


def test_a_database_that_is_away_ends_nothing() -> None:
    tries = threading.Semaphore(0)

    def renew() -> None:
        tries.release()
        raise DatabaseError

    with lease_kept(renew, seconds=0.001):
        assert all(tries.acquire(timeout=20) for _ in range(3))
