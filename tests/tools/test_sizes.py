"""Rules that tools.sizes checks: sizes and broad `except` clauses."""

from pathlib import Path

import pytest

from tools import sizes
from tools.sizes import Module


def found(**texts: str) -> list[str]:
    """Return the complaints about files: `sandbox__bi__api` is sandbox/bi/api.py."""
    paths = {Path(name.replace("__", "/") + ".py"): text for name, text in texts.items()}
    return list(sizes.find_violations([Module(path, text) for path, text in paths.items()]))


@pytest.mark.parametrize("start", ["def run():", "async def run():"])
def test_the_length_of_a_file_and_of_a_function(start: str) -> None:
    def function(count: int) -> str:
        return f"{start}\n" + "    x = 1\n" * (count - 1)

    assert found(accounts__long="x = 1\n" * 650, tools__run=function(60)) == []
    assert found(accounts__long="x = 1\n" * 651, tools__run=function(61)) == [
        "accounts/long.py: 651 lines, at most 650",
        "tools/run.py:1: run has 61 lines, at most 60",
    ]


def test_a_room_and_an_app_have_ceilings() -> None:
    paths = ("accounts/urls.py", "accounts/users/a.py", "accounts/users/b/c.py", "sandbox/wecom_sandbox/api/token.py")
    modules = [Module(Path(path), "x = 1\n" * 10) for path in paths]
    lines = {"accounts": 10, "accounts/users": 19, "sandbox/wecom_sandbox/api": 10}

    apps = {"accounts": 29, "sandbox": 10}
    ceilings = {"lines": lines, "files": {"accounts": 2, "sandbox": 1}, "apps": apps}
    problems = list(sizes.find_large_packages(modules, ceilings))

    assert problems == [
        "accounts/users: 20 lines, at most 19 (tools/ceilings.toml)",
        "accounts: 3 files, at most 2 (tools/ceilings.toml)",
        "accounts: 30 lines, at most 29 (tools/ceilings.toml)",
    ]


@pytest.mark.parametrize(
    "clause", ["except:", "except Exception:", "except BaseException:", "except (OSError, Exception):"]
)
def test_what_catches_everything_says_why(clause: str) -> None:
    def said(reason: str) -> list[str]:
        return found(tools__run=f"try:\n    x = 1\n{clause}{reason}\n    pass\n")

    assert said("  # the edge of the loop") == []
    assert said("") == said("  # noqa: BLE001") == ["tools/run.py:3: catches everything and does not say why"]
    [problem] = found(tools__run="try:\n    x = 1\nexcept Exception:  # why\n    pass\n" * 7)
    assert problem.startswith("7 places catch everything, at most 6: tools/run.py:3, tools/run.py:7, ")
