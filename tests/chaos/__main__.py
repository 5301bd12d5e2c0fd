"""`python -m tests.chaos` (`make chaos`): break everything at random, and count what arrived.

The seed is printed, so that the same disturbances can be had again; what they meet is a matter of milliseconds.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.clocks import Clocks
from tests.services import ENVIRON
from tools import services
from tools.services import Service, start_postgresql, start_valkey

ROUNDS = 100
# A message is tried for so long before its worker counts as dead: short, so that a round is.
TIMES = {
    "WECOM_TOTAL_TIMEOUT_SECONDS": "3",
    "WECOM_CONNECT_TIMEOUT_SECONDS": "2",
    "DELIVERY_LEASE_SECONDS": "5",
    "DISPATCH_INTERVAL_SECONDS": "1",
}


def main() -> int:
    """0 if every receipt of every round agreed with the phones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--first", type=int, default=0, help="number of the first round, to go on where a run ended")
    parser.add_argument(
        "--towns", type=int, default=1, help="so many beside each other, each with a part of the rounds"
    )
    options = parser.parse_args()
    if options.towns > 1:
        return _play_beside_each_other(options.towns, options.rounds, options.first, options.seed)
    sys.stdout.write(f"chaos: {options.rounds} rounds from {options.first}, seed {options.seed}\n")
    sys.stdout.flush()
    with (
        TemporaryDirectory(prefix="guanwecom-chaos-") as name,
        servers(Clocks(Path(name))) as (database, broker, clocks),
    ):
        # Why here? Models can be imported once Django knows the servers, which have addresses only now.
        import django

        django.setup()
        from tests.chaos import rounds

        numbers = range(options.first, options.first + options.rounds)
        is_right = rounds.play_all(database, broker, clocks, Path(name), seed=options.seed, numbers=numbers)
    return 0 if is_right else 1


def _play_beside_each_other(towns: int, rounds: int, first: int, seed: int) -> int:
    """Each town has processes, servers, ports and a folder of its own. 0 if all was right."""
    starts = [first + rounds * town // towns for town in range(towns + 1)]
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(seed)]
    parts = [(str(start), str(end - start)) for start, end in pairwise(starts)]
    running = [subprocess.Popen([*command, "--first", first, "--rounds", count]) for first, count in parts]
    return max(process.wait() for process in running)


@contextmanager
def servers(clocks: Clocks) -> Iterator[tuple[Service, Service, Clocks]]:
    """A PostgreSQL and a Valkey of our own, named in the environment. Valkey has a clock of its own."""
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
