"""Starts the WeCom sandbox: `python -m wecom_sandbox --port 3002 --seed companies.json` (docs/en/sandbox.md)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from wecom_sandbox import server
from wecom_sandbox.http import hosts
from wecom_sandbox.http.authority import Authority
from wecom_sandbox.state import leniency, snapshot
from wecom_sandbox.state.world import World

# The line of a .env file that says so, as programs that read such files understand it.
_PRODUCTION = re.compile(r"""^\s*(?:export\s+)?ENVIRONMENT\s*=\s*["']?production["']?\s*(?:#.*)?$""", re.MULTILINE)
REFUSED = (
    "The WeCom sandbox does not start in production: it lets anybody sign in as anybody. On a machine for trials, "
    "set ENVIRONMENT=demo."
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m wecom_sandbox",
        description="Runs a stand-in for WeCom (API, authorise page, QR page, phone, console) on a loopback address.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["serve", "ca"],
        default="serve",
        help="ca: print the certificate authority of the running sandbox on --port, or the one kept in --ca-folder",
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address; others are refused")
    parser.add_argument("--port", type=int, default=3002, help="0 takes a free one and prints it")
    parser.add_argument("--seed", type=Path, help="a JSON file with companies (docs/en/sandbox.md)")
    parser.add_argument("--snapshot", type=Path, help="a file to load at the start and to write at the end")
    parser.add_argument(
        "--tls-port", type=int, help="serve the same by TLS for WeCom's own host names; 0 takes a free one"
    )
    parser.add_argument(
        "--ca-folder", type=Path, help="keep the certificate authority there; without it each start makes another"
    )
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="answer under this host name, too (repeatable); for containers and names of your own",
    )
    return parser.parse_args(arguments)


def is_production() -> bool:
    """Whether ENVIRONMENT is production: in the environment, else in the `.env` of the folder."""
    if "ENVIRONMENT" in os.environ:
        return os.environ["ENVIRONMENT"] == "production"
    with contextlib.suppress(FileNotFoundError):
        return _PRODUCTION.search(Path(".env").read_text(encoding="utf-8")) is not None
    return False


def reach_of(options: argparse.Namespace) -> server.Reach:
    """Raises OSError, and ValueError for a wrong name or a certificate authority that is not usable."""
    allowed = tuple(map(hosts.checked, options.allow_host))
    authority = authority_of(options, allowed) if options.tls_port is not None else None
    return server.Reach(options.host, options.port, options.tls_port, authority, allowed)


def authority_of(options: argparse.Namespace, allowed: Sequence[str]) -> Authority:
    folder: Path | None = options.ca_folder
    return Authority.new(allowed) if folder is None else Authority.kept(folder, allowed)


def certificate(options: argparse.Namespace) -> str:
    """What `wecom-sandbox ca` prints. Raises OSError and ValueError."""
    if options.ca_folder is not None:
        return authority_of(options, tuple(map(hosts.checked, options.allow_host))).pem
    url = f"http://{options.host}:{options.port}/sandbox/api/ca"
    # No proxy leads to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return str(json.load(answer)["certificate"])
    except OSError as error:
        raise ValueError(f"{url}: {error}. Is the sandbox running there, with --tls-port?") from error


async def serve(world: World, reach: server.Reach) -> None:
    """Until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server.serving_on(world, reach) as ports:
        print(f"WeCom sandbox on http://{reach.host}:{ports.plain}/", flush=True)
        if ports.tls is not None:
            print(f"with TLS for WeCom's own hosts on https://{reach.host}:{ports.tls}/", flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await stop.wait()


def print_certificate(options: argparse.Namespace) -> int:
    try:
        print(certificate(options), end="")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Returns 1, with one line on standard error, for what cannot be started."""
    options = parse(arguments)
    if options.command == "ca":
        return print_certificate(options)
    if is_production():
        print(REFUSED, file=sys.stderr)
        return 1
    world = World()
    kept: Path | None = options.snapshot
    sources = [options.seed, kept if kept and kept.exists() else None]
    try:
        for source in filter(None, sources):
            snapshot.read(world, source)
        for warning in leniency.warnings(world):
            print(warning, file=sys.stderr)
        asyncio.run(serve(world, reach_of(options)))
        if kept is not None:
            snapshot.write(world, kept)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
