"""How an app asks or tells higher ones that it does not import: they register in AppConfig.ready()."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Registry(Generic[T]):
    """What the installed apps offer: the lowest `place` first, then in the order of registration."""

    def __init__(self) -> None:
        self._placed: list[tuple[int, T]] = []

    def register(self, one: T, *, place: int = 0) -> None:
        """Registering the same again changes nothing."""
        if one not in self:
            self._placed.append((place, one))
            self._placed.sort(key=itemgetter(0))

    def __iter__(self) -> Iterator[T]:
        return (one for _place, one in self._placed)


class Provided(Generic[T]):
    """What one higher app provides."""

    def register(self, one: T) -> None:
        """Say what it is. Called once."""
        self._one = one

    def __call__(self) -> T:
        return self._one


class Hook(Registry[Callable[P, T]], Generic[P, T]):
    """A question to the installed apps, or news for them. What one of them raises goes to the caller.

    Each hook says beside its name what its functions are given, what they answer, and when they are called.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Call every function. Returns their answers."""
        return [function(*args, **kwargs) for function in self]

    def joined(self: Hook[P, list[Item]], *args: P.args, **kwargs: P.kwargs) -> list[Item]:
        """Call every function. Returns their lists as one."""
        return [item for found in self(*args, **kwargs) for item in found]

    def first(self, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call the functions until one answers something else than None. Returns that answer."""
        answers = (function(*args, **kwargs) for function in self)
        return next((answer for answer in answers if answer is not None), None)
