"""A hook asks the installed apps in the order that they have."""

from __future__ import annotations

import pytest

from integrations.hooks import Hook


def test_a_hook_asks_by_place_then_in_the_order_of_registration() -> None:
    hook: Hook[[str], list[str]] = Hook()
    hook.register(lambda word: [f"second {word}"])
    hook.register(lambda word: [f"third {word}", "!"])
    hook.register(lambda word: [f"first {word}"], place=-1)

    assert hook("word") == [["first word"], ["second word"], ["third word", "!"]]
    assert hook.joined("word") == ["first word", "second word", "third word", "!"]


def test_registering_twice_changes_nothing() -> None:
    hook: Hook[[int], int] = Hook()
    hook.register(abs)
    hook.register(abs, place=-1)

    assert hook(-1) == [1]


def test_a_hook_without_functions_has_no_answers() -> None:
    hook: Hook[[], list[str]] = Hook()

    assert (hook(), hook.joined(), hook.first()) == ([], [], None)


def test_the_first_answer_is_the_first_that_is_not_none() -> None:
    """Nobody after it is asked."""
    hook: Hook[[int], int | None] = Hook()
    hook.register(lambda _number: None)
    hook.register(lambda number: 0 if number < 2 else None)
    hook.register(lambda number: 10 // (number - 1))

    assert [hook.first(1), hook.first(2)] == [0, 10]


def test_what_a_function_raises_goes_to_the_caller() -> None:
    hook: Hook[[int], float] = Hook()
    hook.register(lambda number: 1 / number)

    with pytest.raises(ZeroDivisionError):
        hook(0)
