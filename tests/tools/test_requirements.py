"""What production installs (requirements.txt) holds every package that its code imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
APPS = ("accounts", "guanwecom", "integrations", "notifications")
OURS = {*APPS, "benchmarks", "sandbox", "tests", "tools"}


def imported(tree: ast.AST) -> Iterator[str]:
    """The top names that a module imports when it runs: not those under `if TYPE_CHECKING`, nor in a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        else:
            yield from imported(node)


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_production_installs_what_its_code_imports() -> None:
    pinned = {normal(name) for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.M)}
    distributions = packages_distributions()
    modules = [ROOT / "gunicorn.conf.py", *(path for app in APPS for path in (ROOT / app).rglob("*.py"))]
    names = {name for path in modules for name in imported(ast.parse(path.read_text()))}
    foreign = names - OURS - set(sys.stdlib_module_names)

    assert "django" in foreign
    assert {name for name in foreign if not set(map(normal, distributions.get(name, []))) & pinned} == set()
