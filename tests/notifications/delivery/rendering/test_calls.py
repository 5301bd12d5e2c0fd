"""Who shares a call."""

from __future__ import annotations

from notifications.delivery.rendering.render import split_into_calls


def together(_person: object) -> None:
    """Everybody gets the same."""


def test_a_thousand_share_a_call_in_their_order() -> None:
    people = list(range(2001))

    calls = list(split_into_calls(people, [0.0] * len(people), together))

    assert calls == [(people[:1000], 0.0), (people[1000:2000], 0.0), (people[2000:], 0.0)]


def test_who_gets_the_same_shares_a_call() -> None:
    calls = list(split_into_calls(["n1", "s1", "n2", "s2", "e1"], [0.0] * 5, lambda person: person[0]))

    assert calls == [(["n1", "n2"], 0.0), (["s1", "s2"], 0.0), (["e1"], 0.0)]


def test_who_must_wait_keeps_nobody_else_waiting() -> None:
    calls = list(split_into_calls(["late", "now", "soon", "too"], [50.0, 0.0, 5.0, 0.0], together))

    assert calls == [(["now", "too"], 0.0), (["soon", "late"], 50.0)]


def test_who_waits_longer_than_a_whole_call_waits_in_a_later_one() -> None:
    people = list(range(1001))

    calls = list(split_into_calls(people, [float(1001 - person) for person in people], together))

    assert [(len(batch), wait) for batch, wait in calls] == [(1000, 1000.0), (1, 1001.0)]


def test_contents_that_differ_wait_apart() -> None:
    calls = list(split_into_calls(["n1", "s1", "n2"], [3.0, 2.0, 1.0], lambda person: person[0]))

    assert calls == [(["n2", "n1"], 3.0), (["s1"], 2.0)]


def test_nobody_needs_no_call() -> None:
    assert list(split_into_calls([], [], together)) == []
