"""Leases that are renewed while their work lasts."""

from __future__ import annotations

import threading

from django.db import DatabaseError

from integrations.core.lease_keeper import Keeper


def test_a_lease_is_renewed_until_its_work_ends() -> None:
    keeper, renewed, other = Keeper(seconds=0.001), threading.Semaphore(0), threading.Semaphore(0)

    with keeper.kept(renewed.release):
        for _ in range(3):
            assert renewed.acquire(timeout=20)
    for thread in threading.enumerate():
        if thread.name == "leases":
            thread.join(20)
    while renewed.acquire(blocking=False):
        pass

    with keeper.kept(other.release):
        assert other.acquire(timeout=20)
    assert not renewed.acquire(blocking=False)


def test_a_database_that_is_away_ends_nothing() -> None:
    keeper, tries = Keeper(seconds=0.001), threading.Semaphore(0)

    def renew() -> None:
        tries.release()
        raise DatabaseError

    with keeper.kept(renew):
        assert all(tries.acquire(timeout=20) for _ in range(3))


def test_a_keeper_that_rests_begins_again() -> None:
    keeper, renewed = Keeper(seconds=0.001), threading.Event()
    with keeper.kept(lambda: None):
        pass
    for thread in threading.enumerate():
        if thread.name == "leases":
            thread.join(20)

    with keeper.kept(renewed.set):
        assert renewed.wait(20)
