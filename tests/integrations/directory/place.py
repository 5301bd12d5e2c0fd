"""The sandbox's company of these tests, our corp beside it, and what each of them says of the directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from integrations.directory.sync import JOB, confirm_run, request_run, run_sync
from integrations.models import Corp, Department, Job, Member, SyncRun
from tests.jobs import return_job, take_job
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

CONTACTS_SECRET = "sandbox-secret-of-contacts"
START = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
TOKEN_PATH = "/cgi-bin/gettoken"


def seed(**changes: object) -> dict[str, Any]:
    """Return the company of tests/sandbox_process.py with an app that sees all of it, and no limits of calls."""
    values = company(**changes)
    app = {**values["apps"][0], "scope": {"partyids": [1]}}
    return {"companies": [{**values, "apps": [app]}], "settings": {"limits_enabled": False}}


class Source(StrEnum):
    """The secrets with which a run reads the directory: the app's, or also that of the contacts."""

    APP = "app"
    BOTH = "both"


@dataclass
class Clock:
    """A clock that moves a second with each reading, so that every heartbeat is written."""

    now: datetime = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def carry_on(
    run: SyncRun, *, clock: Callable[[], datetime], pause: Callable[[float], object] = lambda _seconds: None
) -> SyncRun:
    """Let a worker take the run's job, or that of a dead worker, and copy the directory."""
    jobs = Job.objects.unfinished().filter(kind=JOB, key=str(run.corp_id))
    job = take_job(jobs.order_by("status", "pk")[0], clock)
    done = run_sync(run=SyncRun.objects.select_related("corp").get(pk=run.pk), job=job, pause=pause)
    return_job(job, is_over=done.status != SyncRun.Status.WAITING)
    return done


@dataclass
class Directory:
    """A corp, and the sandbox that acts as WeCom for it."""

    sandbox: SandboxHandle
    corp: Corp
    clock: Clock = field(default_factory=Clock)
    pauses: list[float] = field(default_factory=list)

    @classmethod
    def connected(cls, sandbox: SandboxHandle) -> Directory:
        corp = Corp.objects.create(
            name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=sandbox.base_url
        )
        return cls(sandbox, corp)

    # --- Our side -------------------------------------------------------------------------------------------------

    def with_contacts(self, source: Source = Source.BOTH) -> Directory:
        """Connect the secrets that a run needs for `source`."""
        self.corp.contacts_secret = CONTACTS_SECRET if source == Source.BOTH else ""
        self.corp.save(update_fields=["contacts_secret"])
        return self

    def with_roots(self, *roots: int) -> Directory:
        self.corp.department_root_ids = list(roots)
        self.corp.save()
        return self

    def request(self, source: Source | None = None) -> SyncRun:
        if source is not None:
            self.with_contacts(source)
        return request_run(corp=self.corp, trigger=SyncRun.Trigger.MANUAL, now=self.clock())

    def carry_on(self, run: SyncRun) -> SyncRun:
        """Let a worker take the run."""
        return carry_on(run, clock=self.clock, pause=self.pauses.append)

    def sync(self, source: Source | None = None) -> SyncRun:
        return self.carry_on(self.request(source))

    def sync_saying_yes(self, source: Source | None = None) -> SyncRun:
        """Run to the end, and answer yes to a question."""
        run = self.sync(source)
        if run.status == SyncRun.Status.ASKING:
            assert confirm_run(run=run, now=self.clock())
            run = self.carry_on(run)
        assert run.status == SyncRun.Status.DONE, (run.problem, run.detail)
        return run

    def member(self, userid: str) -> Member:
        return Member.objects.get(corp=self.corp, userid_folded=userid.lower())

    def stored(self) -> dict[str, tuple[str, str | None, str | None, frozenset[int]]]:
        """Return the people who are here: folded userid to (userid, name, status, departments)."""
        here = Member.objects.filter(corp=self.corp).in_scope().prefetch_related("departments")
        return {
            one.userid_folded: (
                one.userid,
                one.name,
                one.status,
                frozenset(department.wecom_department_id for department in one.departments.all()),
            )
            for one in here
        }

    def stored_departments(self) -> dict[int, tuple[str | None, int | None]]:
        rows = Department.objects.filter(corp=self.corp).present()
        return {one.wecom_department_id: (one.name, one.wecom_parent_id) for one in rows}

    @staticmethod
    def changes(run: SyncRun) -> list[tuple[str, str]]:
        written = SyncRun.objects.get(pk=run.pk).written
        userids = dict(Member.objects.values_list("pk", "userid"))
        return [(kind, userids[key]) for key, kind, _written_at in written]

    # --- WeCom's side -----------------------------------------------------------------------------------------------

    def calls(self) -> dict[str, int]:
        """Return how often each API was called since the last look; tokens are left out."""
        paths = [call["path"] for call in self.sandbox.calls() if call["path"] != TOKEN_PATH]
        self.sandbox.control("DELETE", "calls")
        return dict(Counter(path.removeprefix("/cgi-bin/") for path in paths))

    def put_members(self, *rows: dict[str, Any]) -> None:
        self.sandbox.control("POST", f"companies/{CORPID}/members", list(rows))

    def put_departments(self, *rows: dict[str, Any]) -> None:
        self.sandbox.control("POST", f"companies/{CORPID}/departments", list(rows))

    def delete_member(self, userid: str) -> None:
        self.sandbox.control("DELETE", f"companies/{CORPID}/members/{userid}")

    def rename(self, userid: str, new: str) -> None:
        self.sandbox.control("POST", f"companies/{CORPID}/members/{userid}/rename", {"userid": new})

    def set_scope(self, **scope: list[Any]) -> None:
        self.sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": scope})

    def theirs(self, *roots: int) -> dict[str, tuple[str, str, str, frozenset[int]]]:
        """Return the sandbox's members in these departments (default: all), in the form of `stored`."""
        status = {1: "active", 2: "disabled", 4: "not_activated"}
        found = {}
        for one in self._company()["members"]:
            departments = frozenset(one["department"])
            if one["status"] != 5 and (not roots or departments & set(roots)):
                found[one["userid"].lower()] = (one["userid"], one["name"], status[one["status"]], departments)
        return found

    def their_departments(self) -> dict[int, tuple[str, int | None]]:
        return {one["id"]: (one["name"], one["parentid"] or None) for one in self._company()["departments"]}

    def _company(self) -> dict[str, Any]:
        return dict(self.sandbox.control("GET", f"companies/{CORPID}"))
