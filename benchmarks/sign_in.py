"""Measure the cost of a sign-in with WeCom: `python -m benchmarks.sign_in [--rounds N] [--sign-ins N]`.

In each round it measures three kinds of sign-in, each in a process of its own:

- `ours`: our start and callback, in a company with a copied directory: one call to WeCom.
- `ours, not copied`: the same in a company without a copy, where WeCom is also asked for the visible scope: two calls.
- `bare`: Django's login view with ModelBackend and a cheap hasher, with the middleware of a new Django project and
  sessions of the same kind (database and cache): the form's page, then the form with a password.

All use one PostgreSQL and one Valkey, and the product's other settings. WeCom is a stand-in on this machine, which
answers at once; its time is not subtracted. Medians over the rounds are printed, and the application's processor time.

Goals: our median sign-in takes at most 10 ms, and ours signs in at least 0.7 times as many people per second and
process as `bare`; both take two requests. On a busy machine the ratio of the processor times is more reliable. Results
are added to benchmarks/results/sign_in.jsonl.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

from benchmarks import goals, runner
from benchmarks import sign_in_world as world
from benchmarks.goals import Goal
from benchmarks.stand_in import run_stand_in

GOAL_MILLISECONDS, GOAL_RATIO = 10.0, 0.7
WARM_UP = 30
OURS, NOT_COPIED, BARE = "ours", "ours, not copied", "bare"
CONTENDERS = (BARE, OURS, NOT_COPIED)
# Sign-ins are counted as always, but the limit is never reached: one address signs everybody in here.
LIMITS = {"SIGN_INS_PER_ADDRESS": "1000000"}


# --- In the process that is measured ----------------------------------------------------------------------------------


def measure(contender: str, count: int) -> dict[str, float]:
    """Sign in `count` people, one after the other."""
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    if contender == BARE:
        sign_in = world.make_bare_sign_in(application)
    else:
        sign_in = world.make_our_sign_in(application, world.COPIED if contender == OURS else world.UNCOPIED)
    for number in range(WARM_UP):
        sign_in(number % world.PEOPLE)
    times = []
    began_at, processor = time.perf_counter(), time.process_time()
    for number in range(count):
        started = time.perf_counter()
        sign_in(number % world.PEOPLE)
        times.append(time.perf_counter() - started)
    seconds, processor = time.perf_counter() - began_at, time.process_time() - processor
    return {
        "milliseconds": statistics.median(times) * 1000,
        "processor_milliseconds": processor / count * 1000,
        "per_second": count / seconds,
    }


def prepare(base_url: str) -> None:
    """Make all tables and rows, and let PostgreSQL analyse them, as it does by itself after a minute."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    world.make_rows(base_url)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


# --- In the process that compares -------------------------------------------------------------------------------------


def compare(rounds: int, count: int) -> list[dict[str, dict[str, float]]]:
    """Return each contender's figures for each round."""
    environ = {"DJANGO_SETTINGS_MODULE": "benchmarks.sign_in_settings", **LIMITS}
    with runner.run_servers(**environ) as servers, run_stand_in(world.reply) as base_url:

        def run(contender: str, *arguments: str) -> Any:
            """Run this program as one contender's process."""
            env = {**servers.env, "SIGN_IN_CONTENDER": contender.partition(",")[0]}
            return runner.run_and_read("sign_in", *arguments, env=env)

        run(OURS, "--prepare", base_url)
        return [{name: run(name, "--measure", name, str(count)) for name in CONTENDERS} for _ in range(rounds)]


def summarise(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return medians over the rounds; ratios compare figures of the same round."""
    found: dict[str, Any] = {}
    for name in CONTENDERS:
        medians = {key: statistics.median(each[name][key] for each in rounds) for key in rounds[0][name]}
        ratios = [each[name]["per_second"] / each[BARE]["per_second"] for each in rounds]
        found[name] = {**medians, "of_bare": statistics.median(ratios), "of_bare_least": min(ratios)}
    return found


def report(found: dict[str, Any]) -> bool:
    """Print the figures. Return whether the goals are met."""
    print("                      median ms   processor ms   per second   × bare (least)")
    for name, one in found.items():
        print(
            f"{name:20} {one['milliseconds']:10.2f} {one['processor_milliseconds']:14.2f} {one['per_second']:12.0f}"
            f" {one['of_bare']:8.2f} ({one['of_bare_least']:.2f})"
        )
    ours, bare = found[OURS], found[BARE]
    processor = bare["processor_milliseconds"] / ours["processor_milliseconds"]
    print(f"rate relative to Django's own login, by processor time: {processor:.2f}")
    return goals.report_goals(
        [
            Goal.of("sign-in: median", ours["milliseconds"], "≤", GOAL_MILLISECONDS, "ms", digits=1),
            Goal.of("sign-in: rate, relative to Django's own login", ours["of_bare"], "≥", GOAL_RATIO, digits=2),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare what sign-ins cost.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of every contender (7)")
    parser.add_argument("--sign-ins", type=int, default=400, help="sign-ins in each round (400)")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
        print("{}")
        return 0
    if options.measure:
        contender, count = options.measure
        print(json.dumps(measure(contender, int(count))))
        return 0
    before = runner.read_load()
    rounds = compare(options.rounds, options.sign_ins)
    found = summarise(rounds)
    is_met = report(found)
    loads = {"load_before": before, "load": runner.read_load()}
    runner.add_result("sign_in", {**loads, **found, "is_met": is_met, "rounds": rounds})
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
