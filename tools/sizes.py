"""Limits that keep the code easy to read: `python -m tools.sizes` names every violation.

- A file has at most 650 lines, a function at most 60. Each package and each app has a ceiling in tools/ceilings.toml,
  which `python -m tools.sizes --ceilings` sets to the present sizes, apart from the lines of whole apps (`apps`). A
  ceiling goes down when code is removed; it goes up in a commit of its own that says what users gain.
- At most six `except` clauses catch everything, and each says why. Loops share one: integrations.core.background.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("guanwecom", "integrations", "accounts", "notifications", "sandbox/wecom_sandbox", "tools", "benchmarks")
CEILINGS = ROOT / "tools" / "ceilings.toml"
FILE_LINES = 650
FUNCTION_LINES = 60
BROAD_EXCEPTS = 6
BROAD = {"Exception", "BaseException"}


@dataclass(frozen=True)
class Module:
    """A Python file. `path`: relative to the repository's root."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def at(self, node: ast.stmt | ast.ExceptHandler) -> str:
        return f"{self.path}:{node.lineno}"


def main() -> int:
    found = read_modules(FOLDERS)
    ceilings = tomllib.loads(CEILINGS.read_text())
    if sys.argv[1:] == ["--ceilings"]:
        tables = {**measure(found), "apps": ceilings["apps"]}
        texts = ("".join(f'"{place}" = {count}\n' for place, count in sorted(one.items())) for one in tables.values())
        CEILINGS.write_text("\n".join(f"[{kind}]\n{text}" for kind, text in zip(tables, texts, strict=True)))
        return 0
    problems = [*find_violations(found), *find_large_packages(found, ceilings)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def read_modules(folders: Iterable[str]) -> list[Module]:
    """Read all modules of the folders, except migrations."""
    paths = (path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [Module(path, (ROOT / path).read_text()) for path in paths if "migrations" not in path.parts]


def find_violations(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        yield from find_long_parts(module)
    yield from find_broad_excepts(modules)


def measure(modules: list[Module]) -> dict[str, Counter[str]]:
    """Count the lines of each package and of each app, and an app's files. Modules in an app's root count as one
    package."""
    sizes: dict[str, Counter[str]] = {"lines": Counter(), "files": Counter(), "apps": Counter()}
    for module in modules:
        parts = module.path.parts
        depth = 2 if parts[0] == "sandbox" else 1  # its app is one folder deeper
        count = len(module.text.splitlines())
        sizes["lines"]["/".join(parts[: depth + (len(parts) > depth + 1)])] += count
        sizes["apps"][parts[0]] += count
        sizes["files"][parts[0]] += 1
    return sizes


def find_large_packages(modules: list[Module], ceilings: dict[str, dict[str, int]]) -> Iterator[str]:
    for kind, counts in measure(modules).items():
        for place, count in sorted(counts.items()):
            if count > ceilings[kind].get(place, 0):
                unit = "files" if kind == "files" else "lines"
                yield f"{place}: {count} {unit}, at most {ceilings[kind].get(place, 0)} (tools/ceilings.toml)"


def find_long_parts(module: Module) -> Iterator[str]:
    count = len(module.text.splitlines())
    if count > FILE_LINES:
        yield f"{module.path}: {count} lines, at most {FILE_LINES}"
    for function in ast.walk(module.tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        count = (function.end_lineno or function.lineno) - function.lineno + 1
        if count > FUNCTION_LINES:
            yield f"{module.at(function)}: {function.name} has {count} lines, at most {FUNCTION_LINES}"


def find_broad_excepts(modules: list[Module]) -> Iterator[str]:
    broad = [
        (module, node)
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        for kind in (node.type.elts if isinstance(node.type, ast.Tuple) else [node.type])
        if kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD)
    ]
    for module, node in broad:
        if "#" not in module.text.splitlines()[node.lineno - 1].replace("# noqa: BLE001", ""):
            yield f"{module.at(node)}: catches everything and does not say why"
    if len(broad) > BROAD_EXCEPTS:
        places = ", ".join(module.at(node) for module, node in broad)
        yield f"{len(broad)} places catch everything, at most {BROAD_EXCEPTS}: {places}"


if __name__ == "__main__":
    sys.exit(main())
