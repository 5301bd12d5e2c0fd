"""Start the WeCom sandbox: `manage.py wecom_sandbox --port 3002 --seed companies.json`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.checks import sandbox_allowed


class Command(BaseCommand):
    help = "Run a stand-in for WeCom (API, authorise page, QR page, phone, console) on a loopback address."
    # It uses no database, and the project's own checks may need one.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address; others are refused")
        parser.add_argument("--port", type=int, default=3002, help="0 takes a free one and prints it")
        parser.add_argument("--seed", type=Path, help="a JSON file with companies (docs/sandbox.md)")
        parser.add_argument("--snapshot", type=Path, help="a file to load at the start and to write at the end")

    def handle(self, *args: Any, **options: Any) -> None:
        errors = sandbox_allowed()
        if errors:
            raise CommandError("\n".join(map(str, errors)))
        # aiohttp is installed only where the sandbox may run.
        from integrations.sandbox import leniency, server, snapshot
        from integrations.sandbox.world import World

        world = World()
        kept: Path | None = options["snapshot"]
        sources = [options["seed"], kept if kept and kept.exists() else None]
        try:
            for source in filter(None, sources):
                snapshot.read(world, source)
            for warning in leniency.warnings(world):
                self.stderr.write(warning)
            asyncio.run(self._serve(server, world, options["host"], options["port"]))
            if kept is not None:
                snapshot.write(world, kept)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    async def _serve(self, server: Any, world: Any, host: str, port: int) -> None:
        """Until SIGINT or SIGTERM."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with server.serving_on(world, host, port) as actual:
            self.stdout.write(f"WeCom sandbox on http://{host}:{actual}/")
            self.stdout.flush()
            with contextlib.suppress(asyncio.CancelledError):
                await stop.wait()
