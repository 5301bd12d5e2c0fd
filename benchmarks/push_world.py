"""World of the push engine's measurements: servers, companies with people, waiting messages, workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil

from benchmarks import runner
from benchmarks.runner import ROOT
from tests.sandbox_process import AGENTID, SandboxHandle, company, start_sandbox

BATCH = 5000


@dataclass
class World:
    """Running servers. `env`: for programs that use them; `servers`: process ids of PostgreSQL and Valkey."""

    env: dict[str, str]
    folder: Path
    exits: ExitStack
    servers: dict[str, int]
    sandbox: SandboxHandle | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_sandbox(self, companies: int, members: int, *, latency_seconds: float, **settings: Any) -> None:
        """Start a sandbox with companies 0, 1, … of `members` members each, which answers after `latency_seconds`."""
        seed = {"companies": [_make_company_seed(number, members) for number in range(companies)], "settings": settings}
        self.sandbox = self.exits.enter_context(start_sandbox(seed=seed))
        if latency_seconds:
            self.sandbox.fault("slow", "message/send", seconds=latency_seconds, count=None)

    def start_worker(self, number: int, threads: int) -> None:
        """Start a real worker. It is ready when this returns."""
        command = [
            *(sys.executable, "-m", "guanwecom", "worker", "--pool", "threads"),
            *("--concurrency", str(threads), "--loglevel", "INFO", "-n", f"bench{number}@%h"),
        ]
        log = self.folder / f"worker{number}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603  # our own command
        self.exits.callback(_stop_process, process)
        self.workers.append(process)
        wait_until(lambda: "ready." in log.read_text(errors="replace"), seconds=60)


@contextmanager
def run_world(**environ: str) -> Iterator[World]:
    """Start PostgreSQL and Valkey, make the tables and set up Django in this process. `environ`: settings to use."""
    with ExitStack() as exits:
        servers = exits.enter_context(runner.run_servers(**environ))
        os.environ.update(servers.env)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        yield World(env=dict(os.environ), folder=Path(mkdtemp()), exits=exits, servers=servers.pids)


def wait_until(condition: Callable[[], bool], *, seconds: float, pause: float = 0.05) -> None:
    """Wait until the condition is true. Raise TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(pause)


def read_megabytes(world: World) -> list[float]:
    """Return the resident memory of each worker in MB."""
    return [round(psutil.Process(process.pid).memory_info().rss / 2**20, 1) for process in world.workers]


def read_cpu_seconds(world: World) -> dict[str, float]:
    """Return the processor time so far of the workers, the servers and this process, which hands messages out."""
    found = {name: read_process_cpu(pid) for name, pid in world.servers.items()}
    found["workers"] = sum(read_process_cpu(worker.pid) for worker in world.workers)
    if world.sandbox is not None:
        found["sandbox"] = read_process_cpu(world.sandbox.pid)
    return {**found, "this": time.process_time()}


def read_process_cpu(pid: int) -> float:
    """Return the processor time of a process and of its children, also of ended ones."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    seconds = float(times.user + times.system + times.children_user + times.children_system)
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            seconds += sum(child.cpu_times()[:2])
    return seconds


def make_corps(world: World, count: int) -> list[Any]:
    """Make a row for each of the sandbox's first `count` companies, and enable it."""
    from integrations.models import Corp

    if world.sandbox is None:
        raise RuntimeError("no sandbox")
    return [
        Corp.objects.create(
            name=f"公司{number}",
            corpid=make_corpid(number),
            agentid=AGENTID,
            secret=f"secret-{number}",
            api_base_url=world.sandbox.base_url,
            is_enabled=True,
        )
        for number in range(count)
    ]


def make_people(corp: Any, count: int) -> None:
    """Make linked people U0, U1, … until there are `count`."""
    from accounts.models import User, WeComAccount

    for start in range(WeComAccount.objects.filter(corp=corp).count(), count, BATCH):
        numbers = range(start, min(count, start + BATCH))
        people = User.objects.bulk_create(User(username=f"{corp.pk}-{n}") for n in numbers)
        WeComAccount.objects.bulk_create(
            WeComAccount(user=person, corp=corp, userid=f"U{n}", userid_folded=f"u{n}")
            for n, person in zip(numbers, people, strict=True)
        )


def make_personal_messages(corps: list[Any], count: int) -> None:
    """Make rendered messages that wait to be sent, each with a receipt, spread over the companies."""
    from integrations.clients.wecom import builders
    from integrations.clients.wecom.builders import encode_body
    from notifications.models import Delivery, Receipt, Run, new_mark

    now = datetime.now(UTC)
    run = Run.objects.create(
        key=f"bench:{uuid.uuid4()}", trigger="manual", slot_at=now, claimed_at=now, render_after=now, status="sending"
    )
    for start in range(0, count, BATCH):
        deliveries = []
        for n in range(start, min(count, start + BATCH)):
            corp, mark = corps[n % len(corps)], new_mark()
            content = builders.build_text_content(f"您的销售额: {n} 元\nhttps://bi.example.com/m/{mark}/" + "。" * 40)
            message = builders.build_app_message(
                agentid=corp.agentid,
                userids=[f"U{n // len(corps)}"],
                content=content,
                drops_duplicates=True,
            )
            body = encode_body(message)
            deliveries.append(
                Delivery(
                    run=run, corp=corp, channel="wecom", message_form="text", created_at=now, title="日报", text="x",
                    corpid=corp.corpid, agentid=corp.agentid, body=body, mark=mark, language="zh-hans",
                    recipient_count=1, next_attempt_at=now, expires_at=now + timedelta(hours=24),
                )
            )  # fmt: skip
        Receipt.objects.bulk_create(
            Receipt(run=run, delivery=row, channel="wecom", address=f"{row.corp_id}:{start + n}")
            for n, row in enumerate(Delivery.objects.bulk_create(deliveries))
        )


def make_corpid(number: int) -> str:
    return f"ww{number:016d}"


def _make_company_seed(number: int, members: int) -> dict[str, Any]:
    base = company()
    people = [{"userid": f"U{n}", "name": f"员工{n}", "department": [2]} for n in range(members)]
    app = {**base["apps"][0], "secret": f"secret-{number}"}
    return {
        **base, "corpid": make_corpid(number), "name": f"公司{number}", "members": people, "tags": [], "apps": [app],
    }  # fmt: skip


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
