"""The programs of compose.yaml, started without a container by its commands and with its environment.

systemd's units start the same (test_compose.py).
"""

import os
import re
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
from tests.deploy.commands import Command, compose, composed
from tests.e2e.stack import BIN, Program, running, wait_for_http, wait_for_log
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox
from tools.services import free_port

pytestmark = [nightly, pytest.mark.processes]
STARTED = ("web-1", "worker-urgent", "worker", "worker-data", "worker-charts", "beat")
HOST = {"Host": "bi.example.com"}


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
    commands = composed(project_root)
    started: dict[str, Program] = {}
    with ExitStack() as exits:
        for name in STARTED:
            words, env = here(commands[name], production_env, heartbeat=tmp_path / name, web_port=web_port)
            started[name] = exits.enter_context(running(name, words, env=env, folder=tmp_path, cwd=project_root))
        wait_for_http(f"http://127.0.0.1:{web_port}/healthz", started["web-1"])
        wait_for_log("is starting", started["beat"])
        yield started
        for program in started.values():
            program.ask_to_stop()


def here(command: Command, env: dict[str, str], *, heartbeat: Path, web_port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and its environment with the folders, addresses and ports of this test."""
    words = [str(BIN / command.words[0]), *command.words[1:]]
    changed = {"HEARTBEAT_FILE": str(heartbeat), "TRUSTED_PROXIES": "127.0.0.0/8"}
    assert changed.keys() <= command.environment.keys()
    return [word.replace("0.0.0.0:8000", f"127.0.0.1:{web_port}") for word in words], {**env, **changed}


def is_healthy(root: Path, name: str, folder: Path, web_port: int) -> bool:
    """Return the result of the service's health check, run as Docker would."""
    kind, *words = compose(root)["services"][name]["healthcheck"]["test"]
    words = [word.replace("/tmp/heartbeat", str(folder / name)).replace(":8000", f":{web_port}") for word in words]  # noqa: S108  # of the container
    asked = ["sh", "-c", *words] if kind == "CMD-SHELL" else [str(BIN / words[0]), *words[1:]]
    env = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}  # as the Dockerfile sets it
    return subprocess.run(asked, env=env, check=False, capture_output=True).returncode == 0


def sign_in(base: str, username: str, password: str) -> requests.Session:
    session = requests.Session()
    session.headers.update(HOST)
    page = session.get(f"{base}/login/", timeout=60)
    (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text))
    form = {"csrfmiddlewaretoken": token, "username": username, "password": password}
    answer = session.post(f"{base}/login/", data=form, allow_redirects=False, timeout=60)
    assert answer.status_code == 302, answer.text[-3000:]
    return session


@pytest.mark.usefixtures("transactional_db")
def test_they_serve_pages_sign_people_in_and_push_reports(
    sandbox: SandboxHandle, programs: dict[str, Program], web_port: int, project_root: Path, tmp_path: Path
) -> None:
    person = get_user_model().objects.create_user("lilei", name="李雷")
    get_user_model().objects.create_superuser("chief", password="invented-for-this-test")
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
    login_page = requests.get(f"{base}/login/", headers=HOST, timeout=60)
    assert login_page.status_code == 200
    (stylesheet,) = re.findall(r'href="(/static/accounts/[^"]+\.css)"', login_page.text)[:1]
    assert requests.get(base + stylesheet, headers=HOST, timeout=60).status_code == 200
    assert requests.get(f"{base}/login/", headers={"Host": "evil.example.com"}, timeout=60).status_code == 400
    session = sign_in(base, "chief", "invented-for-this-test")
    assert session.get(f"{base}/admin/", allow_redirects=False, timeout=60).status_code == 200

    for name in programs:
        eventually(lambda name=name: is_healthy(project_root, name, tmp_path, web_port), programs.values())  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    (tmp_path / "beat").unlink()
    programs["beat"].kill()
    assert not is_healthy(project_root, "beat", tmp_path, web_port)
