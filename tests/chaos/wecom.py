"""The sandbox as a program that keeps its phones, tokens and duplicate check when it is killed.

WeCom does not forget what it accepted. Before it is killed, the sandbox is asked to write its memory between two
steps of its loop, and ends with SIGKILL at that moment: connections break, calls under way are lost.
"""

import argparse
import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from wecom_sandbox.server import ListenOptions, run_server
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import World

from tests.sandbox_process import ROOT, SandboxHandle
from tools.services import free_port

# Attributes that belong to the process itself.
FLEETING = {"wake_courier", "outbox", "_listeners"}
START_SECONDS = 180


@dataclass
class WeCom:
    """A sandbox on one port. Raises TimeoutError if it does not come up."""

    folder: Path
    seed: dict[str, Any]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> SandboxHandle:
        """Start with the stored memory; the first time with the seed."""
        (self.folder / "seed.json").write_text(json.dumps(self.seed), encoding="utf-8")
        command = [sys.executable, "-m", "tests.chaos.wecom", str(self.port), str(self.folder)]
        with (self.folder / "wecom.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        session = requests.Session()
        session.trust_env = False
        handle = SandboxHandle(f"http://127.0.0.1:{self.port}", self.process.pid, session)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                handle.calls("none")
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError("the sandbox does not answer") from None
                time.sleep(0.1)
            else:
                return handle

    def kill(self) -> None:
        """Kill the sandbox right after it has written its memory."""
        if self.process is not None:
            self.process.send_signal(signal.SIGUSR1)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    world, memory = World(), options.folder / "memory"
    if memory.exists():
        vars(world).update(pickle.loads(memory.read_bytes()))  # noqa: S301  # written by ourselves
    else:
        administration.load_seed(world, json.loads((options.folder / "seed.json").read_text(encoding="utf-8")))
    asyncio.run(_serve(world, options.port, memory))


async def _serve(world: World, port: int, memory: Path) -> None:
    def die() -> None:
        kept = {name: value for name, value in vars(world).items() if name not in FLEETING}
        memory.write_bytes(pickle.dumps(kept))
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, die)
    async with run_server(world, ListenOptions("127.0.0.1", port)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
