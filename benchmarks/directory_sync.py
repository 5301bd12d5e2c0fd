"""How long copying a directory of 100,000 members in 2,000 departments takes on PostgreSQL, and how much memory.

Run `python -m benchmarks.directory_sync [--members N] [--departments N] [--rounds N] [--append]`.

Each measurement is a process of its own against one sandbox and one PostgreSQL on this machine: a first run into empty
tables and an unchanged second one.

* `app`, `contacts`: copying with the app's secret (a call a department), and with the contacts secret (a call for
  10,000 rows);
* `people`: the second half behind it, for a policy that makes everybody a user, with a group for each department at
  the top;
* `wechatpy`: a plain pull by wechatpy into the same tables as `app`, for comparison: it walks the departments and
  writes everybody each time, in batches.

Printed are medians, their ratios, calls, rows written and the highest peak memory; the rounds of a full run are kept in
benchmarks/results/directory_sync.json, each with the machine's load before it. `--append` adds to those that are there.

Goals: the unchanged run takes at most a quarter of the first and writes no row of members or people; no process takes
400 MB; not one call more than the documentation leaves possible.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from wechatpy.enterprise import WeChatClient

from benchmarks import goals, runner
from benchmarks.goals import Goal
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox

GOAL_RATIO, GOAL_MEGABYTES = 0.25, 400
CONTACTS_SECRET = "sandbox-secret-of-contacts"
# Each begins with empty tables, but for the people of the copy before them.
WORK = ("app", "people", "contacts", "wechatpy")
TABLES = (
    "integrations_member",
    "accounts_user",
    "accounts_user_groups",
    "accounts_wecomaccount",
    "accounts_givengroup",
)
FULL_MEMBERS, FULL_DEPARTMENTS = 100_000, 2000
ROWS_A_PAGE = 10_000
RESULTS = runner.RESULTS / "directory_sync.json"


def big_company(members: int, departments: int) -> dict[str, Any]:
    """A tree of departments, twenty below each, all of which the app sees; a tenth of the members stand in two."""
    base = company()
    tree = [{"id": n, "name": f"部门{n}", "parentid": max(1, n // 20)} for n in range(2, departments + 1)]
    people = [
        {
            "userid": f"user{n}",
            "name": f"员工{n}",
            "department": [2 + n % (departments - 1)] + ([2 + (n + 7) % (departments - 1)] if n % 10 == 0 else []),
            "position": "工程师",
        }
        for n in range(members)
    ]
    app = {**base["apps"][0], "scope": {"partyids": [1]}}
    return {**base, "departments": [base["departments"][0], *tree], "members": people, "tags": [], "apps": [app]}


def least_calls(members: int, departments: int) -> dict[str, int]:
    """The fewest calls with each secret, tokens apart.

    An app: department/list, then user/list for each department (that one call may recurse is documented no more), and
    agent/get, since the scope may name people of no department. The contacts secret: department/simplelist, then
    user/list_id for each 10,000 rows, of which a person has one in each of their departments.
    """
    rows = members + math.ceil(members / 10)
    return {
        "app": 1 + departments + 1,
        "people": 0,
        "contacts": 1 + math.ceil(rows / ROWS_A_PAGE),
        "wechatpy": 1 + departments,
    }


# --- In the process that is measured ----------------------------------------------------------------------------------


def measure(work: str, base_url: str) -> dict[str, Any]:
    """Do one piece of work; says how long it took, the peak memory, and how many rows it wrote of TABLES."""
    import django

    django.setup()
    from django.db import connection

    corp = _corp(base_url)
    statements: Counter[str] = Counter()

    def counted(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if _WRITTEN.match(sql):
            statements["rows"] += context["cursor"].rowcount
        return result

    with connection.execute_wrapper(counted):
        started, processor = time.perf_counter(), time.process_time()
        known = _done(work, corp, base_url)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "megabytes": round(peak, 1),
        "rows": statements["rows"],
        **known,
    }


_WRITTEN = re.compile(rf'(INSERT INTO|UPDATE|DELETE FROM) "({"|".join(TABLES)})" ')


def _done(work: str, corp: Any, base_url: str) -> dict[str, Any]:
    if work == "wechatpy":
        return _pull_with_wechatpy(corp, base_url)
    return _apply(corp) if work == "people" else _sync(corp, work)


def _corp(base_url: str) -> Any:
    from integrations.models import Corp

    values = {"secret": SECRET, "contacts_secret": CONTACTS_SECRET, "api_base_url": base_url, "name": "北山制造"}
    return Corp.objects.get_or_create(corpid=CORPID, agentid=AGENTID, defaults=values)[0]


def _sync(corp: Any, source: str) -> dict[str, Any]:
    from django.utils import timezone

    from integrations.directory import request_run, run_sync
    from integrations.models import SyncRun

    run = request_run(corp=corp, trigger=SyncRun.Trigger.MANUAL, now=timezone.now(), source=SyncRun.Source(source))
    done = run_sync(run_id=run.pk, clock=timezone.now)
    assert done is not None
    assert done.status == SyncRun.Status.DONE, (done.problem, done.detail)
    return {"calls": done.call_count, "members": corp.members.here().count()}


def _apply(corp: Any) -> dict[str, Any]:
    """The second half for the last copy, as if that had just been made."""
    from django.utils import timezone

    from accounts.directory.sync import apply_run
    from accounts.models import DirectoryPolicy, PeopleRun, User
    from integrations.models import SyncRun

    _policy, is_new = DirectoryPolicy.objects.get_or_create(corp=corp, defaults={"mode": "create"})
    if is_new:
        _give_groups(corp)
    run = SyncRun.objects.filter(corp=corp).latest("pk")
    PeopleRun.objects.filter(run=run).delete()
    done = apply_run(run=run, clock=timezone.now)
    assert done is not None
    assert done.status == PeopleRun.Status.DONE
    assert set(done.counts) == ({"created", "grouped"} if is_new else set())
    return {"calls": 0, "members": User.objects.filter(groups__isnull=False).distinct().count()}


def _give_groups(corp: Any) -> None:
    """The people of each department at the top, and of all below it, are in a group."""
    from django.contrib.auth.models import Group

    from accounts.models import DepartmentGroup

    for department in corp.departments.filter(wecom_parent_id=1):
        group = Group.objects.create(name=f"group of {department.name}")
        DepartmentGroup.objects.create(department=department, group=group)


class WechatpyClient(WeChatClient):  # type: ignore[misc]  # wechatpy has no types
    """Pointed at the sandbox: wechatpy writes WeCom's address into one method."""

    API_BASE_URL = ""

    def fetch_access_token(self) -> Any:
        query = {"corpid": self.corp_id, "corpsecret": self.secret}
        return self._fetch_access_token(url=f"{self.API_BASE_URL}gettoken", params=query)


def _pull_with_wechatpy(corp: Any, base_url: str) -> dict[str, Any]:
    """A plain pull: departments, then the members of each, everything written whether it changed or not."""
    client: Any = WechatpyClient(CORPID, SECRET, timeout=60)
    client.API_BASE_URL = f"{base_url}/cgi-bin/"
    below: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in client.department.get():
        below[one["parentid"]].append(one)
    calls = 1 + _pull_below(corp, client, below, 0)
    return {"calls": calls, "members": corp.members.here().count()}


def _pull_below(corp: Any, client: Any, below: dict[int, list[dict[str, Any]]], parent: int) -> int:
    from integrations.models import Department

    calls = 0
    for one in below[parent]:
        values = {"name": one["name"], "wecom_parent_id": one["parentid"] or None, "order": one["order"]}
        department, _new = Department.objects.update_or_create(
            corp=corp, wecom_department_id=one["id"], defaults=values
        )
        _upsert(corp, department, client.user.list(one["id"]))
        calls += 1 + _pull_below(corp, client, below, one["id"])
    return calls


def _upsert(corp: Any, department: Any, users: list[dict[str, Any]]) -> None:
    from django.utils import timezone

    from integrations.models import Member, Membership

    now = timezone.now()
    names = ("userid", "name", "alias", "position", "status", "changed_at")
    rows = [
        Member(
            corp=corp,
            userid=user["userid"],
            userid_folded=user["userid"].lower(),
            name=user["name"],
            alias=user["alias"],
            position=user["position"],
            status={1: "active", 2: "disabled", 4: "not_activated"}[user["status"]],
            first_seen_at=now,
            changed_at=now,
        )
        for user in users
    ]
    members = Member.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["corp", "userid_folded"], update_fields=names
    )
    Membership.objects.bulk_create(
        [Membership(member=member, department=department) for member in members], ignore_conflicts=True
    )


# --- In the process that measures -------------------------------------------------------------------------------------


@contextmanager
def places(seed: dict[str, Any]) -> Iterator[tuple[SandboxHandle, dict[str, str]]]:
    """The sandbox, and the environment with a migrated PostgreSQL and a Valkey."""
    with runner.servers() as servers:
        runner.migrate(servers.env)
        with start_sandbox(seed=seed, env=servers.env) as sandbox:
            yield sandbox, servers.env


def child(work: str, sandbox: SandboxHandle, environ: dict[str, str]) -> dict[str, Any]:
    arguments = ("--measure", work, "--base-url", sandbox.base_url)
    found: dict[str, Any] = runner.measured("directory_sync", *arguments, env=environ)
    return found


def main() -> int:
    options = _options()
    if options.measure:
        print(json.dumps(_cleared() if options.measure == "clear" else measure(options.measure, options.base_url)))
        return 0
    is_full = (options.members, options.departments) == (FULL_MEMBERS, FULL_DEPARTMENTS)
    is_kept = options.append and is_full and RESULTS.exists()
    rounds = json.loads(RESULTS.read_text(encoding="utf-8"))["rounds"] if is_kept else []
    seed = {
        "companies": [big_company(options.members, options.departments)],
        "settings": {"limits_enabled": False},
    }
    with places(seed) as (sandbox, environ):
        for _number in range(options.rounds):
            rounds.append(one_round(sandbox, environ))
            summary = summarised(rounds, options.members, options.departments)
            if is_full:
                RESULTS.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return report(summary)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=FULL_MEMBERS)
    parser.add_argument("--departments", type=int, default=FULL_DEPARTMENTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--append", action="store_true", help="keep the rounds that are in the results already")
    parser.add_argument("--measure", choices=(*WORK, "clear"), help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    return parser.parse_args()


def one_round(sandbox: SandboxHandle, environ: dict[str, str]) -> dict[str, Any]:
    """Each piece of work twice; `load`: the machine's, of the minute before."""
    found: dict[str, Any] = {"load": runner.load()}
    for work in WORK:
        if work != "people":
            child("clear", sandbox, environ)
        found[work] = {which: child(work, sandbox, environ) for which in ("first", "again")}
        seconds = ", ".join(f"{which} {found[work][which]['seconds']:.1f} s" for which in ("first", "again"))
        print(f"{work}: {seconds}", flush=True)
    return found


def _cleared() -> dict[str, Any]:
    import django

    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE integrations_corp, accounts_user, auth_group CASCADE")
    return {}


def summarised(rounds: list[dict[str, Any]], members: int, departments: int) -> dict[str, Any]:
    """Medians of seconds, the highest of what must not grow, where they were measured, and the rounds themselves."""
    work = {
        name: {which: _median([one[name][which] for one in rounds]) for which in ("first", "again")} for name in WORK
    }
    for name, calls in least_calls(members, departments).items():
        assert [one["members"] for one in work[name].values()] == [members] * 2
        if name == "wechatpy":  # ours are a goal
            assert [one["calls"] for one in work[name].values()] == [calls] * 2
    return {
        "members": members,
        "departments": departments,
        "work": work,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "wechatpy": version("wechatpy"),
        "rounds": rounds,
    }


def _median(found: list[dict[str, Any]]) -> dict[str, Any]:
    highest = {name: max(one[name] for one in found) for name in ("megabytes", "rows", "calls", "members")}
    seconds = {name: statistics.median(one[name] for one in found) for name in ("seconds", "processor_seconds")}
    return {name: round(value, 2) for name, value in {**seconds, **highest}.items()}


def report(summary: dict[str, Any]) -> int:
    """Print the figures; 1 where a goal is missed."""
    print("                  first    again    ratio   calls   rows written again   peak MB")
    least = least_calls(summary["members"], summary["departments"])
    wanted: list[Goal] = []
    for name, found in summary["work"].items():
        first, again = found["first"], found["again"]
        ratio, peak = again["seconds"] / first["seconds"], max(first["megabytes"], again["megabytes"])
        print(
            f"{name:14} {first['seconds']:7.1f}s {again['seconds']:7.1f}s {ratio:8.2f} "
            f"{again['calls']:7} {again['rows']:20} {peak:9.0f}"
        )
        if name != "wechatpy":
            calls = (first["calls"], again["calls"])
            wanted += [
                Goal(
                    f"directory, {name}: calls, first and again",
                    " and ".join(f"{count:,.0f}" for count in calls),
                    f"= {least[name]:,} each",
                    calls == (least[name],) * 2,
                ),
                Goal.of(f"directory, {name}: time of an unchanged run, of the first", ratio, "≤", GOAL_RATIO, digits=2),
                Goal.of(f"directory, {name}: rows written by an unchanged run", again["rows"], "=", 0),
                Goal.of(f"directory, {name}: peak memory", peak, "≤", GOAL_MEGABYTES, "MB"),
            ]
    for which in ("first", "again"):
        for unit in ("seconds", "processor_seconds"):
            pull = summary["work"]["wechatpy"][which][unit]
            shares = ", ".join(
                f"{name} {summary['work'][name][which][unit] / pull:.2f}" for name in ("app", "contacts")
            )
            print(f"{which}, {unit}: times the plain pull by wechatpy: {shares}")
    return 0 if goals.report(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
