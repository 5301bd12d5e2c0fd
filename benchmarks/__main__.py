"""Benchmarks, one after the other, and one table of their goals: `python -m benchmarks [NAME …]` (`make bench`).

Without names all of them. With `--before COMMIT` each runs in a worktree of that commit first, then here, and the table
shows the figures of both. What is kept there goes with the worktree.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.goals import VARIABLE, Goal, reported
from tests.services import ENVIRON

ROOT = Path(__file__).resolve().parent.parent
# The settings want them; a program that opens some starts its own.
SERVICES = {"DATABASE_URL": "sqlite:////nowhere", "VALKEY_URL": "redis://127.0.0.1:1/0"}
PROGRAMS = ("client_overhead", "sign_in", "push_engine", "chart_push", "pages")
NOTHING = "–"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *PROGRAMS], help=", ".join(PROGRAMS))
    parser.add_argument("--before", metavar="COMMIT", help="run each in a worktree of that commit, too")
    options = parser.parse_args(arguments)
    before = None
    if options.before:
        asked = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{options.before}^{{commit}}"]
        before = subprocess.run(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()  # noqa: S603  # git
        if not before:
            parser.error(f"{options.before} is no commit")
    return run(options.names or PROGRAMS, root=ROOT, before=before)


def run(names: Sequence[str], *, root: Path, before: str | None = None) -> int:
    """Run these programs of the repository at `root`, and those of the commit `before`, and print the table.

    Returns the first exit status that is not 0 of those at `root`, after all have run.
    """
    rows: list[tuple[Goal, str]] = []
    statuses = []
    with ExitStack() as exits:
        tree = exits.enter_context(_tree(root, before)) if before else None
        for name in names:
            earlier = {goal.work: goal.measured for goal in _measured(name, tree, is_older=True)[1]} if tree else {}
            status, found = _measured(name, root)
            statuses.append(status)
            rows += [(goal, earlier.get(goal.work, NOTHING)) for goal in found]
    print(f"\n{table(rows, has_before=before is not None)}")
    return next((status for status in statuses if status), 0)


def table(rows: Sequence[tuple[Goal, str]], *, has_before: bool) -> str:
    """A line for each goal, with what was measured before."""
    cells = [("work", "before", "measured", "wanted", "goal")]
    cells += [(goal.work, before, goal.measured, goal.wanted, goal.word) for goal, before in rows]
    columns = [column for column in zip(*cells, strict=True) if has_before or column[0] != "before"]
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    return "\n".join(" | ".join(row).rstrip() for row in zip(*padded, strict=True))


def _measured(name: str, root: Path, *, is_older: bool = False) -> tuple[int, list[Goal]]:
    """The exit status of a program and its goals. `is_older`: the program may not be there, and the sandbox is not the
    one that this Python has installed."""
    folder = root / "benchmarks"
    if is_older and not ((folder / f"{name}.py").exists() or (folder / name).is_dir()):
        return 0, []
    print(f"--- {name}{', before' if is_older else ''}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "goals.jsonl"
        env = {**os.environ, **ENVIRON, **SERVICES, VARIABLE: str(path)}
        env |= {"PYTHONPATH": str(root / "sandbox")} if is_older else {}
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        status = subprocess.run(command, cwd=root, env=env, check=False).returncode  # noqa: S603  # our own programs
        goals = reported(path)
    return status, [*goals, Goal.failed(name, status)] if status and all(one.is_met for one in goals) else goals


@contextmanager
def _tree(root: Path, commit: str) -> Iterator[Path]:
    """A worktree of the commit until the end, with compiled translations and byte code, as in use."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "guanwecom"
        worktree = ["git", "-C", str(root), "worktree"]
        subprocess.run([*worktree, "add", "--quiet", "--detach", str(tree), commit], check=True)  # noqa: S603  # git
        try:
            for command in (["tools/messages.py", "compile"], ["-m", "compileall", "-q", "."]):
                subprocess.run([sys.executable, *command], cwd=tree, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # ours
            yield tree
        finally:
            subprocess.run([*worktree, "remove", "--force", str(tree)], check=True)  # noqa: S603  # git


if __name__ == "__main__":
    sys.exit(main())
