"""How long `make demo` takes from a fresh clone: `python -m benchmarks.fresh_clone`.

From the command until the demo says where to go, with pip's cache as it is, so that the network matters little. The
clone holds what is committed. The first line of each program shows where the time goes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import goals, runner
from benchmarks.goals import Goal
from tools.services import free_port

SECONDS_WANTED = 45.0
# What the demo prints once everything runs; and each line's first word is the program that wrote it.
READY = "Ctrl-C"


def main() -> int:
    load = runner.load()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "guanwecom"
        subprocess.run(["git", "clone", "--quiet", runner.ROOT, str(clone)], check=True)  # noqa: S603, S607  # our own clone
        phases = _demo(clone)
    seconds = max(phases.values())
    runner.keep("fresh_clone", {"load": [load, runner.load()], "seconds": phases})
    print("\n".join(f"  {at:6.1f} s  {name}" for name, at in phases.items()))
    goal = Goal.of("make demo from a fresh clone: until ready", seconds, "≤", SECONDS_WANTED, "s", digits=1)
    return 0 if goals.report([goal]) else 1


def _demo(clone: Path) -> dict[str, float]:
    """When each program first spoke, and when all was ready, in seconds since the start."""
    ports = {f"DEMO_{name}_PORT": str(free_port()) for name in ("WEB", "SANDBOX", "MAIL")}
    phases: dict[str, float] = {}
    started = time.monotonic()
    demo = subprocess.Popen(
        ["make", "demo"],  # noqa: S607  # our own Makefile
        cwd=clone,
        env={**os.environ, **ports, "DEMO_FOLDER": str(clone / ".demo")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for line in demo.stdout or ():
            name = "ready" if READY in line else line.split(maxsplit=1)[0] if line.strip() else "…"
            phases.setdefault(name, round(time.monotonic() - started, 1))
            if name == "ready":
                return phases
        raise SystemExit(f"the demo ended by itself: {', '.join(phases)}")
    finally:
        os.killpg(demo.pid, 2)
        demo.communicate()


if __name__ == "__main__":
    sys.exit(main())
