"""`python -m tests.chaos` (`make chaos`): break everything at random, and compare every receipt with the phones.

The seed is printed, so that the same disturbances can be repeated. Their effect still depends on milliseconds.
"""

import argparse
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.clocks import Clocks
from tests.services import ENVIRON
from tools import services
from tools.services import Service, start_postgresql, start_valkey

ROUNDS = 100
# A worker counts as dead only after this time-out of a message; it is short to keep rounds short.
TIMES = {"WECOM_TOTAL_TIMEOUT_SECONDS": "5"}


def main() -> int:
    """Return 0 if every receipt of every round agreed with the phones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--first", type=int, default=0, help="number of the first round, to go on where a run ended")
    parser.add_argument("--towns", type=int, default=1, help="play in so many at once, each with a part of the rounds")
    parser.add_argument("--folder", type=Path, help="of a town that this program has begun")
    options = parser.parse_args()
    if options.folder is None:
        return _begin_towns(options.towns, options.rounds, options.first, options.seed)
    sys.stdout.write(f"chaos: {options.rounds} rounds from {options.first}, seed {options.seed}\n")
    sys.stdout.flush()
    with servers(Clocks(options.folder)) as (database, broker, clocks):
        # Models can be imported only once Django knows the servers, whose addresses exist only now.
        import django

        django.setup()
        from tests.chaos import rounds

        numbers = range(options.first, options.first + options.rounds)
        is_right = rounds.play_all(database, broker, clocks, options.folder, seed=options.seed, numbers=numbers)
    return 0 if is_right else 1


def _begin_towns(towns: int, rounds: int, first: int, seed: int) -> int:
    """Run each town in its own process, with its own servers, ports and folder. Return 0 if all were right.

    A judging process has the time of its town.
    """
    running = []
    with ExitStack() as exits:
        starts = [first + rounds * town // towns for town in range(towns + 1)]
        for start, end in pairwise(starts):
            folder = exits.enter_context(TemporaryDirectory(prefix="guanwecom-chaos-"))
            part = ["--folder", folder, "--seed", str(seed), "--first", str(start), "--rounds", str(end - start)]
            command = [*Clocks(Path(folder)).command("judge"), sys.executable, "-m", "tests.chaos", *part]
            running.append(subprocess.Popen(command))
        return max(process.wait() for process in running)


@contextmanager
def servers(clocks: Clocks) -> Iterator[tuple[Service, Service, Clocks]]:
    """Start a PostgreSQL and a Valkey and name them in the environment. Valkey gets a movable clock."""
    for name in ("LD_PRELOAD", "CHAOS_WORLD", "CHAOS_CLOCK"):
        os.environ.pop(name, None)  # they are for the programs that this one starts
    command = services.valkey_command()
    services.valkey_command = lambda: [*clocks.command("broker"), *command]
    database, broker = start_postgresql(keeps_commits=True), start_valkey()
    names = {"DATABASE_URL": database.url, "VALKEY_URL": broker.url, "DJANGO_SETTINGS_MODULE": "guanwecom.settings"}
    os.environ.update({**ENVIRON, **names, **TIMES, "PYTHONUNBUFFERED": "1"})
    try:
        yield database, broker, clocks
    finally:
        broker.stop()
        database.stop()


if __name__ == "__main__":
    sys.exit(main())
