"""Calls from an app to higher apps, which it must not import: those register functions in AppConfig.ready()."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Registry(Generic[T]):
    """Items that the installed apps register, in the order of `place`, then of registration."""

    def __init__(self) -> None:
        self._placed: list[tuple[int, T]] = []

    def register(self, one: T, *, place: int = 0) -> None:
        """Register an item; repeating it changes nothing."""
        if one not in self:
            self._placed.append((place, one))
            self._placed.sort(key=itemgetter(0))

    def __iter__(self) -> Iterator[T]:
        return (one for _place, one in self._placed)


class SingleProvider(Generic[T]):
    """A single object from a higher app."""

    def register(self, one: T) -> None:
        """Set the object. Called once."""
        self._one = one

    def __call__(self) -> T:
        return self._one


class Hook(Registry[Callable[P, T]], Generic[P, T]):
    """A call of the functions that installed apps registered: a question, or a notification. Errors reach the caller.

    A comment beside each hook says what its functions get and return, and when they are called.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Call every function. Return their answers."""
        return [function(*args, **kwargs) for function in self]

    def joined(self: Hook[P, list[Item]], *args: P.args, **kwargs: P.kwargs) -> list[Item]:
        """Call every function. Return their lists as one."""
        return [item for found in self(*args, **kwargs) for item in found]

    def first(self, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call the functions until one returns something else than None. Return that answer."""
        answers = (function(*args, **kwargs) for function in self)
        return next((answer for answer in answers if answer is not None), None)
