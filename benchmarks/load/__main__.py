"""More than web can do, and much for long: `python -m benchmarks.load [NAME …]`.

The web processes are gunicorn's as in a deployment, with a real PostgreSQL and Valkey, and the sandbox in WeCom's
place. All of it, and what sends the requests, is on this machine.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import runner
from benchmarks.load.bursts import callbacks, sign_ins
from benchmarks.load.hour import hour
from benchmarks.load.lists import lists

MEASUREMENTS = {function.__name__: function for function in (sign_ins, callbacks, lists, hour)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *MEASUREMENTS])
    names = parser.parse_args().names
    if len(names) == 1:
        return _measure(names[0])
    return runner.each("load", names or MEASUREMENTS)


def _measure(name: str) -> int:
    load_before = runner.load()
    figures, wanted = MEASUREMENTS[name]()
    loads = {"load_before": load_before, "load": runner.load()}
    return runner.finish("load", {"name": name, **loads, **figures}, wanted)


if __name__ == "__main__":
    sys.exit(main())
