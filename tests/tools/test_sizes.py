from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tools import sizes
from tools.sizes import Module


def found(**texts: str) -> list[str]:
    """What is said of files: `sandbox__bi__api` is sandbox/bi/api.py."""
    paths = {Path(name.replace("__", "/") + ".py"): dedent(text) for name, text in texts.items()}
    return list(sizes.found_in([Module(path, text) for path, text in paths.items()]))


@pytest.mark.parametrize(
    ("count", "problems"), [(650, []), (651, ["accounts/users/long.py: 651 lines, at most 650"])], ids=["most", "more"]
)
def test_the_length_of_a_file(count: int, problems: list[str]) -> None:
    assert found(accounts__users__long="x = 1\n" * count) == problems


@pytest.mark.parametrize("start", ["def run():", "async def run():"])
@pytest.mark.parametrize(
    ("count", "problems"),
    [(60, []), (61, ["tools/run.py:1: run has 61 lines, at most 60"])],
    ids=["most", "more"],
)
def test_the_length_of_a_function(start: str, count: int, problems: list[str]) -> None:
    assert found(tools__run=f"{start}\n" + "    x = 1\n" * (count - 1)) == problems


def test_a_room_and_an_app_have_ceilings() -> None:
    paths = ("accounts/urls.py", "accounts/users/a.py", "accounts/users/b/c.py", "sandbox/wecom_sandbox/api/token.py")
    modules = [Module(Path(path), "x = 1\n" * 10) for path in paths]
    lines = {"accounts": 10, "accounts/users": 19, "sandbox/wecom_sandbox/api": 10}

    problems = list(sizes.too_large(modules, {"lines": lines, "files": {"accounts": 2, "sandbox": 1}}))

    assert problems == [
        "accounts/users: 20 lines, at most 19 (tools/ceilings.toml)",
        "accounts: 3 files, at most 2 (tools/ceilings.toml)",
    ]


def test_an_import_inside_a_function() -> None:
    text = """
        import json

        def ready():
            from accounts import receivers

        def drawn():
            import renderer  # optional package: only some workers have it

        def run():
            import csv
    """

    assert found(notifications__apps=text) == ["notifications/apps.py:11: imported inside run"]
    assert found(benchmarks__run=text) == []


@pytest.mark.parametrize(
    "clause", ["except:", "except Exception:", "except BaseException:", "except (OSError, Exception):"]
)
@pytest.mark.parametrize(
    ("reason", "problems"),
    [
        ("  # the edge of the loop", []),
        ("", ["tools/run.py:3: catches everything and does not say why"]),
        ("  # noqa: BLE001", ["tools/run.py:3: catches everything and does not say why"]),
    ],
    ids=["reason", "none", "noqa"],
)
def test_what_catches_everything_says_why(clause: str, reason: str, problems: list[str]) -> None:
    assert found(tools__run=f"try:\n    x = 1\n{clause}{reason}\n    pass\n") == problems


def test_few_places_catch_everything() -> None:
    catch = "try:\n    x = 1\nexcept Exception:  # why\n    pass\n"

    assert found(tools__run=catch * 6) == []
    [problem] = found(tools__run=catch * 6, accounts__tasks=catch)
    assert problem.startswith("7 places catch everything, at most 6: tools/run.py:3, tools/run.py:7, ")


def test_two_packages_that_import_each_other() -> None:
    assert found(
        sandbox__bi__api="from sandbox.state import world",
        sandbox__state__world="from sandbox.bi.api import Bi",
        sandbox__pages__phone="from sandbox.state.world import World",
    ) == ["sandbox.bi and sandbox.state import each other: sandbox/bi/api.py:1, sandbox/state/world.py:1"]


def test_what_only_type_checkers_read_is_no_import() -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sandbox.bi.api import Bi"

    assert found(sandbox__bi__api="from sandbox.state import world", sandbox__state__world=guarded) == []


def test_a_module_beside_packages_is_a_room_of_its_own() -> None:
    assert (
        found(
            sandbox__server="from sandbox.bi import api",
            sandbox__errors="",
            sandbox__bi__api="from sandbox.errors import ApiError",
        )
        == []
    )
