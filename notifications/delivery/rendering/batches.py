"""Splits people into calls: who gets the same shares one, up to WeCom's 1000 a call. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from integrations.clients.wecom.builders import USERS_AT_MOST

T = TypeVar("T")


def split(
    people: Sequence[T], waits: Sequence[float], key_of: Callable[[T], Hashable]
) -> Iterator[tuple[list[T], float]]:
    """The people of each call (1 to USERS_AT_MOST), with the seconds that it must wait.

    `waits`: for each person the seconds until the app may write to them again, 0 for now; nobody is kept waiting by
    others, unless they wait too. `key_of`: equal for people who get the same.

    Source: developer.work.weixin.qq.com/document/path/90236, touser.
    """
    in_time = sorted(zip(waits, people, strict=True), key=lambda each: each[0])
    for _is_held, group in groupby(in_time, key=lambda each: each[0] > 0):
        for alike in _alike(group, lambda each: key_of(each[1])):
            for start in range(0, len(alike), USERS_AT_MOST):
                batch = alike[start : start + USERS_AT_MOST]
                yield [person for _wait, person in batch], batch[-1][0]


def _alike(items: Iterable[T], key_of: Callable[[T], Hashable]) -> Iterable[list[T]]:
    """Those with one key together, in the order in which the first of each comes."""
    found: dict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        found[key_of(item)].append(item)
    return found.values()
