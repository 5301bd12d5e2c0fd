"""What load meets: companies of the sandbox with people, and the programs of a deployment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from benchmarks.push_world import World, make_corps, make_people
from tests.e2e.stack import BIN, Program, running, wait_for_http
from tests.sandbox_process import ROOT
from tools.services import free_port

# As in deploy/systemd and compose.yaml: two processes with so many threads.
PROCESSES, THREADS = 2, 8


def start_web(world: World) -> tuple[int, Program]:
    """The web as compose.yaml starts it; its port."""
    port = free_port()
    command = [str(BIN / "gunicorn"), "guanwecom.wsgi", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    command += ["--workers", str(PROCESSES), "--threads", str(THREADS)]
    web = world.exits.enter_context(running("web", command, env=world.env, folder=world.folder, cwd=ROOT))
    wait_for_http(f"http://127.0.0.1:{port}/healthz/ready", web)
    return port, web


def start_beat(world: World) -> Program:
    command = [str(BIN / "celery"), "-A", "guanwecom", "beat", "--pidfile", str(world.folder / "beat.pid")]
    return world.exits.enter_context(running("beat", command, env=world.env, folder=world.folder, cwd=ROOT))


def make_company(world: World, people: int) -> Any:
    """A company whose directory is copied and in force; each of its people has an account."""
    from accounts.models import DirectoryPolicy
    from integrations.models import Corp, Member, SyncRun

    world.start_sandbox(1, people, latency_seconds=0)
    [corp] = make_corps(world, 1)
    now = datetime.now(UTC)
    Corp.objects.update(first_enabled_at=now)
    make_people(corp, people)
    DirectoryPolicy.objects.create(corp=corp, mode=DirectoryPolicy.Mode.LINK)
    times = {"status": "active", "first_seen_at": now, "changed_at": now}
    Member.objects.bulk_create(
        Member(corp=corp, userid=f"U{number}", userid_folded=f"u{number}", **times) for number in range(people)
    )
    moments = {"requested_at": now, "started_at": now, "finished_at": now}
    SyncRun.objects.create(corp=corp, trigger="manual", source="app", status="done", **moments)
    return corp


def administrator_cookie() -> str:
    """Of a session of a superuser."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    person, _is_new = get_user_model().objects.get_or_create(
        username="root", defaults={"is_staff": True, "is_superuser": True}
    )
    client = Client()
    client.force_login(person, "django.contrib.auth.backends.ModelBackend")
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
