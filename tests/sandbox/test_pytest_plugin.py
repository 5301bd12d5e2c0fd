"""The fixtures of wecom-sandbox in a project of its own without Django."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox_process import ROOT

PROJECT = '''
import json
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from wecom_sandbox.testing import ControlError, Sandbox, example


def call(sandbox: Sandbox, path: str, document: object = None, **query: str) -> dict:
    body = None if document is None else json.dumps(document).encode()
    with urlopen(f"{sandbox.url}/cgi-bin/{path}?{urlencode(query)}", body) as answer:
        return json.load(answer)


def send(sandbox: Sandbox, text: str) -> dict:
    """What the program under test does."""
    [app] = sandbox.company()["apps"]
    token = call(sandbox, "gettoken", corpid="wwsandbox", corpsecret=app["secret"])["access_token"]
    message = {"touser": "lilei", "agentid": app["agentid"], "msgtype": "text", "text": {"content": text}}
    return call(sandbox, "message/send", message, access_token=token)


def test_nothing_is_left_of_the_tests_before(wecom_sandbox: Sandbox) -> None:
    import time

    assert wecom_sandbox.person("lilei").messages() == []
    assert wecom_sandbox.calls() == []
    assert wecom_sandbox.control("GET", "faults")["faults"] == []
    assert wecom_sandbox.control("GET", "clock")["now"] < time.time() + 3600
    assert send(wecom_sandbox, "again")["errcode"] == 0


def test_people_act(wecom_sandbox: Sandbox) -> None:
    person = wecom_sandbox.person("lilei")
    assert person.authorize(redirect_uri="http://localhost:8000/back", state="s")["url"].endswith("&state=s")
    person.write(1000002, "hello")
    person.leave()
    with pytest.raises(ControlError, match="^404 .*lilei"):
        person.messages()


class TestAnotherCompany:
    @pytest.fixture
    def wecom_sandbox_seed(self) -> object:
        seed = example()
        seed["companies"][0]["members"] = [{"userid": "ann", "name": "Ann", "department": [1]}]
        return seed

    def test_it_is_there(self, wecom_sandbox: Sandbox) -> None:
        assert [one["userid"] for one in wecom_sandbox.company()["members"]] == ["ann"]
'''


def run_pytest(folder: Path, program: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a program, with nothing of this suite but its Python."""
    (folder / "test_program.py").write_text(program, encoding="utf-8")
    ours = ("PYTEST", "PYTHON", "DJANGO")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder,
        env=variables | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_project_without_django_uses_the_fixtures(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, PROJECT)

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 passed")


@pytest.mark.parametrize("language", ["en", "zh-cn"])
def test_the_example_of_the_guide(language: str, tmp_path: Path) -> None:
    guide = (ROOT / "docs" / language / "sandbox.md").read_text(encoding="utf-8")

    done = run_pytest(tmp_path, guide.rsplit("```python\n", 1)[1].split("```", 1)[0])

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 passed")


def test_a_sandbox_that_does_not_start_is_told(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test(wecom_sandbox): pass", ENVIRONMENT="production")

    assert done.returncode == 1
    assert "RuntimeError: the sandbox did not start: '', exit code 1" in done.stdout
    assert "does not start in production" in done.stdout
