"""Rules that tools.names checks: first words, participles, class names, modules and subjects of commits."""

from pathlib import Path

import pytest

from tools import names
from tools.sizes import Module


def make_modules(**texts: str) -> list[Module]:
    """Make modules: `accounts__users__roles` is accounts/users/roles.py."""
    return [Module(Path(name.replace("__", "/") + ".py"), text) for name, text in texts.items()]


@pytest.mark.parametrize("head", ["", "def run():\n    ", "class Run:\n    ", "async def run():\n    "])
def test_a_docstring_begins_with_a_verb_or_a_noun(head: str) -> None:
    def check(docstring: str) -> list[str]:
        return list(names.check_docstrings(make_modules(accounts__roles=f'{head}"""{docstring}"""')))

    assert check("Rights of a role.") == check("Return the rights of a role.") == []
    assert check("Of a role, its rights.") == ["accounts/roles.py:1: a docstring begins with 'Of'"]
    assert check("What: a role.") == ["accounts/roles.py:1: a docstring begins with 'What'"]


def test_participles_are_counted_outside_tests_properties_and_querysets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "PARTICIPLE_FUNCTIONS", 1)
    shown, written = "def shown():\n    pass\n", "def _written():\n    pass\n"
    free = (
        "class Rows(models.QuerySet[Run]):\n    def finished(self): ...\n"
        "class Run:\n    @property\n    def held(self): ...\n    def show_held(self): ...\n    def open(self): ...\n"
    )

    assert list(names.check_participles(make_modules(accounts__runs=free + shown, tests__runs=shown + written))) == []
    assert list(names.check_participles(make_modules(accounts__runs=shown, sandbox__runs=written))) == [
        "2 functions are named by a participle alone, at most 1:",
        "accounts/runs.py:1: shown",
        "sandbox/runs.py:1: _written",
    ]


def test_a_class_name_has_one_meaning_in_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "SHARED_CLASS_NAMES", 0)
    one, nested = "class Found:\n    pass\n", "class Role:\n    class Found:\n        pass\n"

    assert list(names.check_class_names(make_modules(accounts__a=one, integrations__a=one, accounts__b=nested))) == []
    assert list(names.check_class_names(make_modules(accounts__a=one, accounts__b=one))) == [
        "accounts: 1 class names have two meanings, at most 0:",
        "  Found: accounts/a.py:1, accounts/b.py:1",
    ]


def test_modules_have_names_that_say_something_and_apps_do_not_import_tools() -> None:
    assert (
        list(names.check_modules(make_modules(accounts__roles="import os", tests__roles="from tools import demo")))
        == []
    )
    assert list(
        names.check_modules(make_modules(accounts__utils="", accounts__roles="from tools.demo import seed"))
    ) == [
        "accounts/utils.py: a name that says nothing",
        "accounts/roles.py:1: an app imports tools",
    ]


def test_a_subject_has_at_most_72_characters() -> None:
    assert list(names.check_subjects(["a" * 72])) == []
    assert len(list(names.check_subjects(["a" * 73]))) == 1
