"""Hooks that ask the installed apps in their order."""

from integrations.hooks import Hook


def test_a_hook_asks_by_place_then_in_the_order_of_registration_each_once() -> None:
    hook: Hook[[str], list[str]] = Hook()
    assert (hook("word"), hook.joined("word"), hook.first("word")) == ([], [], None)

    def second(word: str) -> list[str]:
        return [f"second {word}"]

    hook.register(second)
    hook.register(lambda word: [f"third {word}", "!"])
    hook.register(lambda word: [f"first {word}"], place=-1)
    hook.register(second, place=-2)  # already registered

    assert hook("word") == [["first word"], ["second word"], ["third word", "!"]]
    assert hook.joined("word") == ["first word", "second word", "third word", "!"]


def test_the_first_answer_is_the_first_that_is_not_none() -> None:
    hook: Hook[[int], int | None] = Hook()
    hook.register(lambda _number: None)
    hook.register(lambda number: 0 if number < 2 else None)
    hook.register(lambda number: 10 // (number - 1))

    assert [hook.first(1), hook.first(2)] == [0, 10]
