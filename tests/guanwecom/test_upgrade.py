"""A rolling upgrade: the database has HEAD's schema while processes of an older commit still run (CONTRIBUTING.md)."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

import pytest
import requests

from accounts.models import User, WeComAccount
from integrations.models import Corp
from notifications.models import Report, Run, Subscription
from tests.e2e.stack import BIN, Stack
from tests.e2e.waiting import eventually
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

# The newest commit that renamed columns: until the first release each app has one initial migration, which is edited.
# Move it on with a release.
OLDER_COMMIT = "6e6a31453485c5010efca281481185c16f07c46b"
# Prints each table's columns: whether they take NULL, and whether a row may be inserted without naming them.
PRINT_COLUMNS = """
import json
import django
django.setup()
from django.apps import apps
from django.db.models import NOT_PROVIDED
print(json.dumps({
    model._meta.db_table: {
        field.column: {
            "takes_null": field.null,
            "is_optional": field.null or field.primary_key or field.db_default is not NOT_PROVIDED,
        }
        for field in model._meta.concrete_fields
    }
    for model in apps.get_models(include_auto_created=True)
    if model._meta.managed and not model._meta.proxy
}))
"""


class Column(TypedDict):
    takes_null: bool
    is_optional: bool


Columns = dict[tuple[str, str], Column]


@pytest.fixture(scope="session")
def older_code(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the older commit's files. Clones without its history lack them; those of CI are whole."""
    git = shutil.which("git") or "git"
    archive = subprocess.run([git, "archive", OLDER_COMMIT], cwd=project_root, capture_output=True, check=False)
    if archive.returncode:
        reason = f"this clone lacks commit {OLDER_COMMIT[:7]}; `git fetch --unshallow` brings it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def columns_of(folder: Path) -> Columns:
    """The columns that the code in `folder` knows, by table and name."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "guanwecom.settings", "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", PRINT_COLUMNS], cwd=folder, env=env, capture_output=True, check=True)
    tables: dict[str, dict[str, Column]] = json.loads(done.stdout)
    return {(table, name): column for table, columns in tables.items() for name, column in columns.items()}


def test_older_code_finds_all_its_columns_and_can_insert_into_all_its_tables(
    older_code: Path, project_root: Path
) -> None:
    older, ours = columns_of(older_code), columns_of(project_root)
    its_tables = {table for table, _name in older}

    assert older.keys() - ours.keys() == set(), "removed or renamed while older code reads them"
    assert {key for key in older if older[key]["is_optional"] and not ours[key]["is_optional"]} == set()
    assert {key for key in older if older[key]["takes_null"] and not ours[key]["takes_null"]} == set()
    added = {key: column for key, column in ours.items() if key not in older and key[0] in its_tables}
    assert {key for key, column in added.items() if not column["is_optional"]} == set(), "added without db_default"


@pytest.fixture
def older_stack(older_code: Path, process_environ: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    env = {**process_environ, "PYTHONPATH": str(older_code)}
    with start_sandbox(seed={"companies": [company()]}) as sandbox:
        # That commit's services begin with Celery's own command.
        celery = [str(BIN / "celery"), "-A", "guanwecom"]
        yield Stack(env=env, root=older_code, folder=tmp_path, sandbox=sandbox, celery=celery)


@pytest.mark.processes
@pytest.mark.postgresql
@pytest.mark.usefixtures("transactional_db")
def test_processes_of_the_older_commit_push_and_serve_on_our_schema(older_stack: Stack) -> None:
    person = User.objects.create_user("lilei", name="李雷")
    address = older_stack.sandbox.base_url
    corp = Corp.objects.create(
        name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=address, is_enabled=True
    )
    WeComAccount.objects.create(user=person, corp=corp, userid="LiLei")
    report = Report.objects.create(title="日报", body="今天一切正常。")
    subscription = Subscription.objects.create(name="日报", report=report, crontab="* * * * *")
    subscription.users.add(person)
    this_minute = datetime.now(UTC).replace(second=0, microsecond=0)
    Subscription.objects.filter(pk=subscription.pk).update(next_run_at=this_minute)

    with ExitStack() as exits:
        older_stack.begin_web(exits)
        older_stack.start_worker(exits)
        older_stack.start_beat(exits)
        older_stack.wait_for_web()

        messages = eventually(lambda: older_stack.sandbox.messages(CORPID, "lilei"), older_stack.programs.values())
        finished = Run.objects.filter(status=Run.Status.FINISHED)
        eventually(finished.exists, older_stack.programs.values())
        health = requests.get(f"{older_stack.web_url}/healthz", timeout=60)
        login_page = requests.get(f"{older_stack.web_url}/login/", timeout=60)

    assert messages[0]["msgtype"] == "textcard"
    assert (health.status_code, health.text) == (200, "ok")
    assert login_page.status_code == 200
