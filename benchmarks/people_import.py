"""How long an import of 50,000 people takes on PostgreSQL, and the sheet of as many for download; how much memory.

Run `python -m benchmarks.people_import [--people N] [--profile]`.

Each step is a process of its own, as a worker: the check of a csv that gives everybody another name, a WeCom account
and an employee number; writing it, skipping refused rows; and an xlsx of everybody. Results are added to
benchmarks/results/people_import.jsonl, with the machine's load before it. `--profile` prints where each spends its
time, by cProfile, which itself slows it down, and keeps nothing.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import sys
import time
from typing import Any

from benchmarks import goals, runner
from benchmarks.goals import Goal

FULL = 50_000
GOAL_MEGABYTES = 400
STEPS = ("check", "write", "export")


# --- In the process that is measured ----------------------------------------------------------------------------------


def measure(step: str, people: int, *, is_profiled: bool) -> dict[str, Any]:
    import django

    django.setup()
    if step == "prepare":
        _prepare(people)
        return {}
    work = {"check": _check, "write": _write, "export": _export}[step]
    profile = cProfile.Profile()
    if is_profiled:
        profile.enable()
    started, processor = time.perf_counter(), time.process_time()
    rows = work()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    if is_profiled:
        profile.disable()
        pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
    assert rows == people, rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(seconds, 1), "processor": round(processor, 1), "megabytes": round(peak)}


def _prepare(people: int) -> None:
    from django.utils import timezone

    from accounts.importexport.jobs import request_import
    from accounts.models import Attribute, User
    from integrations.models import Corp

    root = User.objects.create(username="root", is_staff=True, is_superuser=True)
    corp = Corp.objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="s", is_enabled=True
    )  # noqa: S106  # invented
    values = {"key": "employee_number", "name": "工号", "is_unique": True, "is_employee_number": True}
    Attribute.objects.create(**values)
    User.objects.bulk_create((User(username=f"user{n:06}") for n in range(people)), batch_size=1000)
    header = "用户名,姓名,企业微信公司名称,企业微信账号,工号"
    rows = (f"user{n:06},员工{n},{corp.name},u{n:06},A{n:06}" for n in range(people))
    options: dict[str, Any] = {"corp": None, "match_by": "username", "clears_empty": False, "now": timezone.now()}
    content = "\n".join([header, *rows]).encode()
    request_import(editor=root, ip=None, file_name="people.csv", content=content, **options)


def _check() -> int:
    from django.utils import timezone

    from accounts.importexport import jobs
    from accounts.models import PeopleImport

    jobs.carry_on(run_id=PeopleImport.objects.get().pk, clock=timezone.now)
    return int(PeopleImport.objects.get(status="asking").counts["change"])


def _write() -> int:
    from django.utils import timezone

    from accounts.importexport import jobs
    from accounts.models import PeopleImport, User

    run, root = PeopleImport.objects.get(), User.objects.get(username="root")
    assert jobs.confirm_import(run=run, mode="skip", editor=root, ip=None, now=timezone.now())
    jobs.carry_on(run_id=run.pk, clock=timezone.now)
    return int(PeopleImport.objects.get(status="done").counts["applied"])


def _export() -> int:
    from django.utils import timezone

    from accounts.importexport import export_jobs
    from accounts.models import PeopleExport, User

    root = User.objects.get(username="root")
    keys = list(User.objects.exclude(pk=root.pk).values_list("pk", flat=True))
    export = export_jobs.request_export(reader=root, user_ids=keys, language="zh-hans", now=timezone.now())
    export_jobs.carry_out(export_id=export.pk, clock=timezone.now)
    return PeopleExport.objects.get(status="done").done_count


# --- In the process that measures -------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=FULL)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--measure", choices=(*STEPS, "prepare"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.people, is_profiled=options.profile)))
        return 0
    load = runner.load()
    arguments = ["--people", str(options.people), *(["--profile"] if options.profile else [])]
    with runner.servers() as servers:
        runner.migrate(servers.env)
        found = {
            step: runner.measured("people_import", "--measure", step, *arguments, env=servers.env)
            for step in ("prepare", *STEPS)
        }
    del found["prepare"]
    if not options.profile:
        runner.keep("people_import", {"load": load, "people": options.people, **found})
    return report(found, options.people)


def report(found: dict[str, dict[str, Any]], people: int) -> int:
    """Print the figures; 1 where a process took too much memory."""
    print(f"{people} people   seconds   of processor   peak MB")
    for step, one in found.items():
        print(f"{step:12} {one['seconds']:9} {one['processor']:14} {one['megabytes']:9}")
    is_met = goals.report(
        [
            Goal.of(f"import and export of people, {step}: peak memory", one["megabytes"], "≤", GOAL_MEGABYTES, "MB")
            for step, one in found.items()
        ]
    )
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
