"""The commands of the README's production section, started as they stand there, do the main job."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from django.contrib.auth import get_user_model
from django_celery_beat.models import PeriodicTask

from accounts.models import WeComAccount
from integrations.models import Corp
from notifications.models import Report, Subscription
from tests.e2e.stack import BIN, Program, running, wait_for_http, wait_for_log
from tests.e2e.waiting import eventually
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox
from tools.services import free_port

pytestmark = [pytest.mark.processes, pytest.mark.postgresql]


def production_commands(root: Path, readme: str) -> list[list[str]]:
    """The commands of web, workers and beat in a README."""
    text = (root / readme).read_text(encoding="utf-8")
    (block,) = (found for found in re.findall(r"```sh\n(.*?)```", text, re.S) if "gunicorn" in found)
    return [shlex.split(line) for line in block.strip().splitlines()]


def test_both_readmes_give_the_same_commands(project_root: Path) -> None:
    commands = production_commands(project_root, "README.md")

    assert [Path(command[0]).name for command in commands] == ["gunicorn", "celery", "celery", "celery"]
    assert production_commands(project_root, "README.zh-CN.md") == commands


@pytest.fixture
def production_env(process_environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {
        **process_environ,
        "ENVIRONMENT": "production",
        "SECRET_KEY": "invented for this test, as long as a production key is",
        "ALLOWED_HOSTS": "bi.example.com",
        "STATIC_ROOT": str(tmp_path / "static"),
    }


@pytest.fixture
def sandbox() -> Iterator[SandboxHandle]:
    with start_sandbox(seed={"companies": [company()]}) as handle:
        yield handle


@pytest.fixture
def web_port() -> int:
    return free_port()


@pytest.fixture
def programs(
    production_env: dict[str, str], project_root: Path, tmp_path: Path, web_port: int
) -> Iterator[dict[str, Program]]:
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    subprocess.run(collect, cwd=project_root, env=production_env, check=True)
    started: dict[str, Program] = {}
    with ExitStack() as exits:
        for name, command in zip(
            ["web", "worker", "charts", "beat"], production_commands(project_root, "README.md"), strict=True
        ):
            words = [str(BIN / Path(command[0]).name), *command[1:]]
            words = [word.replace("127.0.0.1:8000", f"127.0.0.1:{web_port}") for word in words]
            if name == "beat":
                words += ["--pidfile", str(tmp_path / "beat.pid")]
            started[name] = exits.enter_context(
                running(name, words, env=production_env, folder=tmp_path, cwd=project_root)
            )
        wait_for_http(f"http://127.0.0.1:{web_port}/healthz", started["web"])
        wait_for_log("is starting", started["beat"])
        yield started


@pytest.mark.usefixtures("transactional_db")
def test_production_commands_serve_pages_and_push_reports(
    sandbox: SandboxHandle, programs: dict[str, Program], web_port: int
) -> None:
    person = get_user_model().objects.create_user("lilei", name="李雷")
    corp = Corp.objects.create(
        name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=sandbox.base_url, is_enabled=True
    )
    WeComAccount.objects.create(user=person, corp=corp, userid="LiLei")
    report = Report.objects.create(title="日报", body="今天一切正常。")
    subscription = Subscription.objects.create(name="日报", report=report, crontab="* * * * *")
    subscription.users.add(person)

    this_minute = datetime.now(UTC).replace(second=0, microsecond=0)
    Subscription.objects.filter(pk=subscription.pk).update(next_run_at=this_minute)

    messages = eventually(lambda: sandbox.messages(CORPID, "lilei"), programs.values())
    assert messages[0]["msgtype"] == "textcard"
    assert PeriodicTask.objects.filter(task="notifications.tick", enabled=True).count() == 1

    base = f"http://127.0.0.1:{web_port}"
    login_page = requests.get(f"{base}/login/", headers={"Host": "bi.example.com"}, timeout=60)
    assert login_page.status_code == 200
    (stylesheet,) = re.findall(r'href="(/static/accounts/[^"]+\.css)"', login_page.text)[:1]
    assert requests.get(base + stylesheet, headers={"Host": "bi.example.com"}, timeout=60).status_code == 200
    assert requests.get(f"{base}/login/", headers={"Host": "evil.example.com"}, timeout=60).status_code == 400
