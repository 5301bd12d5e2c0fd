"""More than web can do, and much for long: `python -m benchmarks.load [NAME …]`.

The web processes are gunicorn's as in a deployment, with a real PostgreSQL and Valkey, and the sandbox in WeCom's
place. All of it, and what sends the requests, is on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
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
    # Each in a process of its own: Django is set up once for one database.
    command = [sys.executable, "-m", "benchmarks.load"]
    return max(subprocess.run([*command, name], check=False).returncode for name in names or MEASUREMENTS)  # noqa: S603  # ourselves


def _measure(name: str) -> int:
    load_before = runner.load()
    found = MEASUREMENTS[name]()
    line = runner.keep("load", {"name": name, "load_before": load_before, "load": runner.load(), **found})
    print(json.dumps(line, ensure_ascii=False, indent=2))
    print(f"{name}: {found['goal']}: {'met' if found['is_met'] else 'NOT MET'}")
    return 0 if found["is_met"] else 1


if __name__ == "__main__":
    sys.exit(main())
