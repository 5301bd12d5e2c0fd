"""Start the WeCom sandbox: `wecom-sandbox --port 3002 --seed companies.json`."""

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

from wecom_sandbox import __version__, server
from wecom_sandbox.http import hosts
from wecom_sandbox.http.hosts import Authority
from wecom_sandbox.state import snapshot
from wecom_sandbox.state.world import World, make_ip_warnings

# A line of a .env file that sets ENVIRONMENT to production, in every spelling that readers of such files accept.
_PRODUCTION = re.compile(r"""^\s*(?:export\s+)?ENVIRONMENT\s*=\s*["']?production["']?\s*(?:#.*)?$""", re.MULTILINE)
EXAMPLE = Path(__file__).resolve().parent / "example.json"
EXAMPLE_CORPID = "wwsandbox"
REFUSED_IN_PRODUCTION = (
    "The WeCom sandbox does not start in production: it lets anybody sign in as anybody. On a machine for trials, "
    "set ENVIRONMENT=demo."
)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="wecom-sandbox",
        description="Runs a stand-in for WeCom: API, sign-in pages, phone and console, with an example company.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "command",
        nargs="?",
        choices=["serve", "ca"],
        default="serve",
        help="ca: print the certificate authority of the running sandbox on --port, or the one kept in --ca-folder",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen; beyond this machine only with --allow-host"
    )
    parser.add_argument("--port", type=int, default=3002, help="0 takes a free one and prints it")
    parser.add_argument("--seed", type=Path, help="a JSON file with companies, instead of the example")
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
    """Return whether ENVIRONMENT is production, in the environment or else in the folder's `.env`."""
    if "ENVIRONMENT" in os.environ:
        return os.environ["ENVIRONMENT"] == "production"
    with contextlib.suppress(FileNotFoundError):
        return _PRODUCTION.search(Path(".env").read_text(encoding="utf-8")) is not None
    return False


def make_listen_options(options: argparse.Namespace) -> server.ListenOptions:
    """Return the addresses to listen on. Raise OSError, or ValueError for a wrong host name or an unusable CA."""
    allowed = tuple(map(hosts.check_host_name, options.allow_host))
    authority = load_authority(options, allowed) if options.tls_port is not None else None
    return server.ListenOptions(options.host, options.port, options.tls_port, authority, allowed)


def load_authority(options: argparse.Namespace, allowed: Sequence[str]) -> Authority:
    folder: Path | None = options.ca_folder
    return Authority.new(allowed) if folder is None else Authority.load_or_create(folder, allowed)


def read_certificate(options: argparse.Namespace) -> str:
    """Return the certificate that `wecom-sandbox ca` prints. Raise OSError and ValueError."""
    if options.ca_folder is not None:
        return load_authority(options, tuple(map(hosts.check_host_name, options.allow_host))).pem
    url = f"http://{format_host(options.host)}:{options.port}/sandbox/api/ca"
    # No proxy, since the address is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return str(json.load(answer)["certificate"])
    except OSError as error:
        raise ValueError(f"{url}: {error}. Is the sandbox running there, with --tls-port?") from error


def format_host(host: str) -> str:
    """Return the host as it is written in URLs; 127.0.0.1 if the sandbox listens on all addresses."""
    if hosts.is_unspecified(host):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def format_announcement(world: World, options: server.ListenOptions, ports: server.Ports) -> str:
    """Return the sandbox's addresses, one line each. Programs read the address at the end of the first line."""
    host = format_host(options.host)
    url = f"http://{host}:{ports.plain}"
    lines = [
        f"WeCom sandbox on {url}/",
        f"  phone    {url}/phone",
        f"  console  {url}/console",
        f"  API      {url}/cgi-bin/",
        f"  control  {url}/sandbox/api/",
    ]
    if ports.tls is not None:
        lines.append(f"  TLS      https://{host}:{ports.tls}/ for WeCom's own hosts")
    company = world.companies.get(EXAMPLE_CORPID)
    if company is not None:
        lines += [
            f"  try      corpid={company.corpid} corpsecret={app.secret} agentid={app.agentid}"
            for app in company.apps.values()
        ]
    return "\n".join(lines)


async def serve(world: World, options: server.ListenOptions) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server.run_server(world, options) as ports:
        print(format_announcement(world, options, ports), flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await stop.wait()


def print_certificate(options: argparse.Namespace) -> int:
    try:
        print(read_certificate(options), end="")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Return 1, with one line on standard error, if it cannot start."""
    options = parse_arguments(arguments)
    if options.command == "ca":
        return print_certificate(options)
    if is_production():
        print(REFUSED_IN_PRODUCTION, file=sys.stderr)
        return 1
    world = World()
    saved: Path | None = options.snapshot
    sources = [path for path in (options.seed, saved if saved and saved.exists() else None) if path]
    try:
        for path in sources or [EXAMPLE]:
            snapshot.read_snapshot(world, path)
        for warning in make_ip_warnings(world) if sources else ():
            print(warning, file=sys.stderr)
        asyncio.run(serve(world, make_listen_options(options)))
        if saved is not None:
            snapshot.write_snapshot(world, saved)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
