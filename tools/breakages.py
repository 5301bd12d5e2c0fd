"""Breaks the code in small ways, one at a time, and sees whether the tests notice.

    python -m tools.breakages draw            draw the list anew: tests/breakages.json (SEED and COUNT below)
    python -m tools.breakages apply 17        write one breakage into this folder; `git checkout` takes it back
    python -m tools.breakages run             run them all, or those whose numbers follow

A breakage is one mutation of one line inside a function: a comparison flipped, `and` for `or`, a condition negated, a
number off by one, a result or an argument dropped. It is stored as text, so that it applies after lines have moved.

`run` breaks a copy of the working tree, never the tree itself. It runs the tests that reached the line, which a
coverage file names, until one fails:

    .venv/bin/python -m pytest -n 2 --cov --cov-context=test --cov-report=

leaves that file, `.coverage`. Where a module reaches the line when it is imported, or nothing in pytest's own process
does (the sandbox runs beside it), the tests that mirror the module run, too. Where the test that failed fails without
the breakage as well, the result is "unsound". Each result is appended to a file as it comes, and a second run goes on
after it; at the end a table counts what was caught.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("guanwecom", "integrations", "accounts", "notifications", "sandbox/wecom_sandbox")
LIST = ROOT / "tests" / "breakages.json"
SEED, COUNT = 16, 240
TESTS_AT_MOST = 400  # of the nearest 40, many a breakage is noticed by none
SECONDS_AT_MOST = 900  # a breakage may make a loop endless; a test that hangs has noticed it, too

FLIPPED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}


@dataclass(frozen=True)
class Breakage:
    path: str
    kind: str
    line: str  # the whole line, as it is
    nth: int  # which of the file's lines with this text, from 0
    broken: str


@dataclass(frozen=True)
class Edit:
    """`text` in place of the columns `start` to `end` of a line. Columns count characters."""

    kind: str
    number: int
    start: int
    end: int
    text: str


class Stale(Exception):
    """The code no longer holds the line of a breakage."""


# --- Draw ------------------------------------------------------------------------------------------------------------


def draw(seed: int, count: int) -> list[Breakage]:
    """Draw `count` breakages by the seed. Each package has a share by its lines; kinds take turns, lines occur once."""
    chance = random.Random(seed)  # noqa: S311  # nothing secret
    sizes = {name: sum(len(path.read_text().splitlines()) for path in _modules(name)) for name in PACKAGES}
    drawn: list[Breakage] = []
    for name in PACKAGES:
        share = round(count * sizes[name] / sum(sizes.values()))
        drawn += _interleaved([found for path in _modules(name) for found in breakages_of(path)], share, chance)
    return drawn


def _modules(package: str) -> list[Path]:
    return [path for path in sorted((ROOT / package).rglob("*.py")) if "migrations" not in path.parts]


def _interleaved(found: list[Breakage], share: int, chance: random.Random) -> list[Breakage]:
    by_kind: dict[str, list[Breakage]] = defaultdict(list)
    for breakage in found:
        by_kind[breakage.kind].append(breakage)
    for kind in by_kind.values():
        chance.shuffle(kind)
    drawn: dict[tuple[str, str, int], Breakage] = {}
    for one in (one for turn in itertools.zip_longest(*(by_kind[kind] for kind in sorted(by_kind))) for one in turn):
        if one is not None and (key := (one.path, one.line, one.nth)) not in drawn and _compiles(one):
            drawn[key] = one
            if len(drawn) == share:
                break
    return [drawn[key] for key in sorted(drawn)]


def _compiles(breakage: Breakage) -> bool:
    lines = (ROOT / breakage.path).read_text().splitlines()
    lines[_number(lines, breakage)] = breakage.broken
    try:
        compile("\n".join(lines), "broken", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _number(lines: list[str], breakage: Breakage) -> int:
    return [number for number, line in enumerate(lines) if line == breakage.line][breakage.nth]


def breakages_of(path: Path) -> Iterator[Breakage]:
    """List all that one module allows."""
    source = path.read_text()
    lines = source.splitlines()
    for edit in sorted(set(edits_of(source)), key=lambda one: (one.number, one.start, one.kind, one.text)):
        line = lines[edit.number]
        broken = line[: edit.start] + edit.text + line[edit.end :]
        yield Breakage(path.relative_to(ROOT).as_posix(), edit.kind, line, lines[: edit.number].count(line), broken)


def edits_of(source: str) -> Iterator[Edit]:
    """Inside functions only: what a module does when it is imported belongs to no test."""
    lines = source.splitlines()
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in function.body:
                for node in ast.walk(statement):
                    yield from _edits_of_node(node, lines)


def _edits_of_node(node: ast.AST, lines: list[str]) -> Iterator[Edit]:
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in FLIPPED:
            yield from _between("comparison flipped", left, right, lines, *FLIPPED[type(operator)])
        case ast.BoolOp(op=operator, values=[left, right, *_]):
            words = ("and", "or") if isinstance(operator, ast.And) else ("or", "and")
            yield from _between("and/or swapped", left, right, lines, *words)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _replaced("not dropped", node, lines, lambda _: _text(operand, lines))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield from _replaced("condition negated", test, lines, lambda text: f"(not ({text}))")
        case ast.Constant(value=bool()):
            yield from _replaced("truth flipped", node, lines, lambda text: str(text == "False"))
        case ast.Constant(value=int()):
            yield from _replaced("number off by one", node, lines, lambda text: f"({text} + 1)")
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield from _replaced("result dropped", value, lines, lambda _: "None")
        case ast.Expr(value=ast.Call()):
            yield from _replaced("call dropped", node, lines, lambda _: "pass")
        case ast.Call(func=called, args=arguments, keywords=keywords) if arguments or keywords:
            kept = [*(_text(one, lines) for one in arguments), *(_text(one, lines) for one in keywords)][:-1]
            yield from _replaced(
                "argument dropped", node, lines, lambda _: f"{_text(called, lines)}({', '.join(kept)})"
            )


def _span(node: ast.expr | ast.stmt | ast.keyword, lines: list[str]) -> tuple[int, int]:
    """Return where a node on one line begins and ends, in characters; the tree counts bytes."""
    line = lines[node.lineno - 1].encode()
    return len(line[: node.col_offset].decode()), len(line[: node.end_col_offset].decode())


def _text(node: ast.expr | ast.keyword, lines: list[str]) -> str:
    start, end = _span(node, lines)
    return lines[node.lineno - 1][start:end]


def _between(kind: str, left: ast.expr, right: ast.expr, lines: list[str], word: str, other: str) -> Iterator[Edit]:
    if left.end_lineno == right.lineno:
        line = lines[right.lineno - 1]
        first = len(line.encode()[: left.end_col_offset].decode())
        last = len(line.encode()[: right.col_offset].decode())
        if found := re.search(rf"(?<!\S){re.escape(word)}(?!\S)", line[first:last]):
            yield Edit(kind, right.lineno - 1, first + found.start(), first + found.end(), other)


def _replaced(kind: str, node: ast.expr | ast.stmt, lines: list[str], write: Callable[[str], str]) -> Iterator[Edit]:
    if node.lineno == node.end_lineno:
        start, end = _span(node, lines)
        yield Edit(kind, node.lineno - 1, start, end, write(lines[node.lineno - 1][start:end]))


# --- Apply -----------------------------------------------------------------------------------------------------------


def read_list() -> list[Breakage]:
    return [Breakage(**document) for document in json.loads(LIST.read_text())]


def find_place(breakage: Breakage, root: Path) -> tuple[Path, int]:
    """The file and the line, from 0. A line that has moved counts if no other of its package is like it."""
    path = root / breakage.path
    if path.exists():
        numbers = [number for number, line in enumerate(path.read_text().splitlines()) if line == breakage.line]
        if len(numbers) > breakage.nth:
            return path, numbers[breakage.nth]
    elsewhere = [
        (other, number)
        for other in sorted((root / breakage.path.partition("/")[0]).rglob("*.py"))
        for number, line in enumerate(other.read_text().splitlines())
        if line.strip() == breakage.line.strip()
    ]
    if len(elsewhere) != 1:
        raise Stale(f"{breakage.path}: {breakage.line.strip()}")
    return elsewhere[0]


def apply(breakage: Breakage, root: Path) -> tuple[Path, str]:
    """Returns the file and what it held before."""
    path, number = find_place(breakage, root)
    before = path.read_text()
    lines = before.splitlines()
    indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    lines[number] = indent + breakage.broken.lstrip()
    path.write_text("\n".join(lines) + "\n")
    return path, before


# --- Run -------------------------------------------------------------------------------------------------------------


class Reached:
    """The tests that reached each line, read from a coverage file with a context for each test."""

    def __init__(self, path: Path) -> None:
        self._data = coverage.CoverageData(str(path))
        self._data.read()

    @cache  # noqa: B019  # one object, as long as the program
    def _contexts(self, path: str) -> dict[int, list[str]]:
        measured = next((name for name in self._data.measured_files() if Path(name).as_posix().endswith(path)), None)
        return self._data.contexts_by_lineno(measured) if measured else {}

    def is_reached_by_import(self, path: str, number: int) -> bool:
        return "" in self._contexts(path).get(number + 1, [])

    def tests(self, path: str, number: int) -> list[str]:
        """The nearest first, and of each test function one case before the second of another."""
        contexts = self._contexts(path).get(number + 1, [])
        tests = sorted({context.rpartition("|")[0] for context in contexts if "|" in context})
        by_function: dict[str, list[str]] = defaultdict(list)
        for test in tests:
            by_function[test.partition("[")[0]].append(test)
        nearest = sorted(by_function, key=lambda test: (-_shared_parts(test, path), test))
        rounds = itertools.zip_longest(*(by_function[name] for name in nearest))
        return [test for round_ in rounds for test in round_ if test is not None][:TESTS_AT_MOST]


def _shared_parts(test: str, module: str) -> int:
    words = set(re.split(r"[/_.]", module))
    return len(words & set(re.split(r"[/_.]", test.partition("::")[0])))


def mirror_of(module: str) -> str:
    """The test file of a module, else the nearest folder of tests: tests/sandbox for sandbox/state/renaming.py."""
    path = Path("tests") / module
    if (ROOT / path.with_name(f"test_{path.name}")).exists():
        return path.with_name(f"test_{path.name}").as_posix()
    return next(folder.as_posix() for folder in path.parents if (ROOT / folder).is_dir())


def outcome(breakage: Breakage, copy: Path, reached: Reached) -> dict[str, object]:
    """ "caught", "missed" or "stale", by the tests that reach the line, run on `copy` with the breakage in it."""
    try:
        path, number = find_place(breakage, copy)
    except Stale:
        return {"outcome": "stale"}
    module = path.relative_to(copy).as_posix()
    tests = reached.tests(module, number)
    if not tests or reached.is_reached_by_import(module, number):
        tests.append(mirror_of(module))
    path, before = apply(breakage, copy)
    try:
        status, said = _run_tests(tests, copy)
    finally:
        path.write_text(before)
    failed = first_failed(said)
    words = {0: "missed", 1: "caught", 2: "caught", None: "caught"}
    word = words.get(status, f"pytest ended with {status}")
    if failed and _run_tests([failed], copy)[0] != 0:
        word = "unsound"
    return {"outcome": word, "by": failed, "tests": len(tests)}


def first_failed(said: str) -> str:
    """The id of the first test that pytest's summary names; empty for none."""
    found = re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", said, re.MULTILINE)
    return found[1] if found else ""


def _run_tests(tests: list[str], copy: Path) -> tuple[int | None, str]:
    """pytest's exit status, None if the time was up."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=SECONDS_AT_MOST, check=False)
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout


def run(numbers: Iterable[int], coverage_file: Path, results: Path) -> None:
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    breakages, reached = read_list(), Reached(coverage_file)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(lambda name: (ROOT / name).is_file(), names.splitlines()):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        for number in sorted(set(numbers) - {result["number"] for result in known}):
            result = {"number": number, **asdict(breakages[number]), **outcome(breakages[number], copy, reached)}
            known.append(result)
            with results.open("a") as file:
                file.write(json.dumps(result, ensure_ascii=False) + "\n")
            print(f"{number:4} {result['outcome']:8} {result['path']}: {str(result['broken']).strip()}", flush=True)
    print_table(known)


def print_table(results: list[dict[str, str]]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        counts[result["path"].partition("/")[0]][result["outcome"]] += 1
        counts["all"][result["outcome"]] += 1
    for package in (*PACKAGES, "all"):
        line = ", ".join(f"{count} {name}" for name, count in sorted(counts[package].items()))
        print(f"{package:15} {line or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("draw", "apply", "run"))
    parser.add_argument("numbers", nargs="*", type=int)
    parser.add_argument("--coverage", type=Path, default=ROOT / ".coverage", help="the coverage file of `run`")
    parser.add_argument("--results", type=Path, default=ROOT / "breakages.results.jsonl")
    options = parser.parse_args()
    if options.command == "draw":
        document = [asdict(breakage) for breakage in draw(SEED, COUNT)]
        LIST.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    elif options.command == "apply":
        for number in options.numbers:
            apply(read_list()[number], ROOT)
    else:
        run(options.numbers or range(len(read_list())), options.coverage, options.results)


if __name__ == "__main__":
    main()
