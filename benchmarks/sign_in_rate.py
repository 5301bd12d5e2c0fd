"""How many people sign in in a second, by web processes: `python -m benchmarks.sign_in_rate [--rounds N] [--people N]`.

gunicorn runs as deployed (8 threads for each process), with one process and with two; 8 browsers for each process sign
in side by side. Contenders are `ours` and `bare` of benchmarks.sign_in, in turn, in every round. The browsers' program,
PostgreSQL, Valkey and the stand-in for WeCom share the machine with the web processes: on two processors two web
processes are not twice as fast. `processor`: milliseconds of the web processes for one sign-in.

There is no goal: figures are stated. Results are added to benchmarks/results/sign_in_rate.jsonl.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from benchmarks import runner
from benchmarks import sign_in_world as world
from benchmarks.sign_in import LIMITS
from benchmarks.stand_in import stand_in
from tools.services import free_port

THREADS = 8
START_SECONDS = 60
WARM_UP = 40
CONTENDERS, PROCESSES = ("ours", "bare"), (1, 2)
# What gunicorn serves: ours as deployed, which also keeps its heartbeat, and Django's own.
APPLICATIONS = {"ours": "guanwecom.wsgi", "bare": "django.core.wsgi:get_wsgi_application()"}


# --- The browsers -----------------------------------------------------------------------------------------------------


def drive(contender: str, port: int, browsers: int, people: int) -> dict[str, float]:
    """Sign `people` in over HTTP, so many at once."""
    import django

    django.setup()
    application = partial(_over_http, port)
    ours = contender == "ours"
    sign_in = world.ours(application, world.COPIED) if ours else world.bare(application, with_page=True)
    with ThreadPoolExecutor(browsers) as pool:
        list(pool.map(sign_in, (number % world.PEOPLE for number in range(WARM_UP * browsers))))
        began = time.perf_counter()
        list(pool.map(sign_in, (number % world.PEOPLE for number in range(people))))
        return {"per_second": people / (time.perf_counter() - began)}


def _over_http(port: int, environ: dict[str, Any], start_response: Callable[..., Any]) -> io.BytesIO:
    """A WSGI application that asks the web server."""
    names = ("HTTP_HOST", "HTTP_USER_AGENT", "HTTP_ACCEPT_LANGUAGE", "HTTP_COOKIE")
    headers = {name.removeprefix("HTTP_").replace("_", "-"): environ[name] for name in names if environ[name]}
    body = environ["wsgi.input"].read()
    if body:
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    connection = HTTPConnection("127.0.0.1", port)
    try:
        address = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        connection.request(environ["REQUEST_METHOD"], address, body or None, headers)
        answer = connection.getresponse()
        page = answer.read()
    finally:
        connection.close()
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:  # waited too long: it comes again, as told
        time.sleep(int(answer.headers.get("Retry-After", "1")))
        return _over_http(port, {**environ, "wsgi.input": io.BytesIO(body)}, start_response)
    start_response(f"{answer.status} {answer.reason}", answer.getheaders())
    return io.BytesIO(page)


# --- The web processes ------------------------------------------------------------------------------------------------


@contextmanager
def web(application: str, processes: int, env: dict[str, str]) -> Iterator[tuple[int, int]]:
    """gunicorn as deployed: its port and its process id."""
    port = free_port()
    options = ["--workers", str(processes), "--threads", str(THREADS), "--no-control-socket"]
    command = [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", *options]
    process = subprocess.Popen(command, cwd=runner.ROOT, env=env, stderr=subprocess.DEVNULL)  # noqa: S603  # our own program
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, HTTPException):
                asked = HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
                asked.request("GET", "/livez")
                asked.getresponse().read()
                break
            time.sleep(0.2)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _processor_seconds(pid: int) -> float:
    """Of the children of a process, which are alive."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    stats = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def measure(contender: str, processes: int, people: int, env: dict[str, str]) -> dict[str, float]:
    env = {**env, "SIGN_IN_CONTENDER": contender}
    browsers = THREADS * processes
    with web(APPLICATIONS[contender], processes, env) as (port, pid):
        began = _processor_seconds(pid)
        numbers = (str(port), str(browsers), str(people))
        found: dict[str, float] = runner.measured("sign_in_rate", "--drive", contender, *numbers, env=env)
        used = _processor_seconds(pid) - began
    return {**found, "processor_milliseconds": used / (people + WARM_UP * browsers) * 1000}


def compare(rounds: int, people: int) -> list[dict[str, dict[str, float]]]:
    """For each round the figures of each contender with each number of processes."""
    environ = {"DJANGO_SETTINGS_MODULE": "benchmarks.sign_in_settings", **LIMITS}
    with runner.servers(**environ) as servers, stand_in(world.reply) as base_url:
        prepared = {**servers.env, "SIGN_IN_CONTENDER": "allauth"}  # its tables are among those of sign_in's rows
        runner.measured("sign_in", "--prepare", base_url, env=prepared)
        pairs = [(contender, processes) for processes in PROCESSES for contender in CONTENDERS]
        return [
            {f"{one} {processes}": measure(one, processes, people, servers.env) for one, processes in pairs}
            for _round in range(rounds)
        ]


def report(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Prints the medians; they come back."""
    found: dict[str, Any] = {}
    print("web processes          per second   processor ms   × bare")
    for processes in PROCESSES:
        for contender in CONTENDERS:
            name = f"{contender} {processes}"
            medians = {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
            ratios = [one[name]["per_second"] / one[f"bare {processes}"]["per_second"] for one in rounds]
            found[name] = {**medians, "of_bare": statistics.median(ratios)}
            figures = (medians["per_second"], medians["processor_milliseconds"], found[name]["of_bare"])
            print(f"{name:20} {figures[0]:12.0f} {figures[1]:14.2f} {figures[2]:8.2f}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the sign-ins that web processes take in a second.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every contender (3)")
    parser.add_argument("--people", type=int, default=800, help="sign-ins in each round (800)")
    parser.add_argument("--drive", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        contender, *numbers = options.drive
        print(json.dumps(drive(contender, *map(int, numbers))))
        return 0
    before = runner.load()
    rounds = compare(options.rounds, options.people)
    figures = report(rounds)
    runner.keep("sign_in_rate", {"load_before": before, "load": runner.load(), **figures, "rounds": rounds})
    return 0


if __name__ == "__main__":
    sys.exit(main())
