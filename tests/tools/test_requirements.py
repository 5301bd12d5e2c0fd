"""Packages that an installation installs (requirements.txt) include all that its code imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
APPS = ("accounts", "guanwecom", "integrations", "notifications")
OURS = {*APPS, "benchmarks", "tests", "tools", "wecom_sandbox"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield top-level names that a module imports when it loads: none under `if TYPE_CHECKING` or in a function."""
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


def not_pinned(modules: Iterable[Path], requirements: str) -> set[str]:
    """Return the foreign packages that these modules import and the requirements do not install."""
    pinned = {normal(name) for name in re.findall(r"^([\w.-]+)==", (ROOT / requirements).read_text(), re.M)}
    distributions = packages_distributions()
    names = {name for path in modules for name in imported(ast.parse(path.read_text()))}
    foreign = names - OURS - set(sys.stdlib_module_names)
    return {name for name in foreign if not set(map(normal, distributions.get(name, []))) & pinned}


def test_production_installs_what_its_code_imports() -> None:
    modules = [ROOT / "gunicorn.conf.py", *(path for app in APPS for path in (ROOT / app).rglob("*.py"))]

    # It is imported only if SENTRY_DSN is set; operators who set it install it.
    assert not_pinned(modules, "requirements.txt") == {"sentry_sdk"}
