"""Rounds of `make chaos` with every program that can be killed, in a short form."""

import sys
from pathlib import Path

import pytest

from tests.pooler import needs_pgbouncer
from tests.programs import needs, run_program

pytestmark = [needs("cc", package="gcc"), needs_pgbouncer, pytest.mark.processes]

# These rounds kill a worker, the database, Valkey and the sandbox, cut and freeze, and disable a company.
ROUNDS, SEED = 2, 1119


def test_some_rounds_of_chaos_lose_and_double_nothing(project_root: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--rounds", str(ROUNDS), "--seed", str(SEED)]

    done = run_program(command, cwd=project_root, timeout=None)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": right in ") == ROUNDS
