"""A rolling upgrade: the database has HEAD's schema while processes of an older commit still run (CONTRIBUTING.md)."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict

import psycopg
import pytest
import requests
from django.db import connection

from tests import postgresql_programs
from tests.e2e.stack import BIN, Stack
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.programs import run_program
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

# This commit represents the last release: later ones only add to its tables, and it needs no removed package. Move it
# on with a release.
OLDER_COMMIT = "bbc18ba0aa5f518c1acfa9b2c7a6e63c5b1df2cb"
# Prints each table's columns: whether they take NULL, and whether an insert may leave them out.
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
            "is_optional": field.null or field.db_default is not NOT_PROVIDED,
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
    """A folder with the older commit's files. Clones without its history lack them; those of CI are complete."""
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


def read_columns_of_code(folder: Path) -> Columns:
    """Return the columns that the code in `folder` knows, by table and name."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "guanwecom.settings", "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", PRINT_COLUMNS], cwd=folder, env=env, capture_output=True, check=True)
    tables: dict[str, dict[str, Column]] = json.loads(done.stdout)
    return {(table, name): column for table, columns in tables.items() for name, column in columns.items()}


def read_columns_of_database() -> Columns:
    """Return the columns after our migrations, which may keep some that only older code reads."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, is_nullable = 'YES', column_default IS NOT NULL OR is_identity = 'YES' "
            "FROM information_schema.columns WHERE table_schema = current_schema()"
        )
        return {
            (table, name): {"takes_null": takes_null, "is_optional": takes_null or has_default}
            for table, name, takes_null, has_default in cursor.fetchall()
        }


@pytest.mark.django_db
def test_older_code_finds_all_its_columns_and_can_insert_into_all_its_tables(older_code: Path) -> None:
    older, ours = read_columns_of_code(older_code), read_columns_of_database()
    its_tables = {table for table, _name in older}

    assert older.keys() - ours.keys() == set(), "removed or renamed while older code reads them"
    assert {key for key in older if older[key]["is_optional"] and not ours[key]["is_optional"]} == set()
    assert {key for key in older if older[key]["takes_null"] and not ours[key]["takes_null"]} == set()
    added = {key: column for key, column in ours.items() if key not in older and key[0] in its_tables}
    assert {key for key, column in added.items() if not column["is_optional"]} == set(), "added without db_default"


# Run by the older code: makes a company with a person, pushes of every minute, and an API token, which it prints.
SEED = """
import sys
import django
django.setup()
from django.utils import timezone
from datetime import timedelta
from accounts.models import User, WeComAccount
from integrations.models import Corp
from notifications.api import tokens
from notifications.models import ApiToken, Report, Subscription
address, corpid, agentid, secret, count = sys.argv[1:]
owner = User.objects.create_superuser("admin", password="x", name="管理员")
corp = Corp.objects.create(
    name="北山制造", corpid=corpid, agentid=agentid, secret=secret, api_base_url=address, is_enabled=True
)
report = Report.objects.create(title="日报", body="今天一切正常。")
now = timezone.now()
for number in range(int(count)):
    person = User.objects.create_user(f"p{number}", name=f"员工{number}")
    WeComAccount.objects.create(user=person, corp=corp, userid=person.username)
    subscription = Subscription.objects.create(name=f"日报 {number}", report=report, crontab="* * * * *")
    subscription.users.add(person)
Subscription.objects.update(next_run_at=now.replace(second=0, microsecond=0))
token = ApiToken(name="数据平台", owner=owner, reach="everything", expires_at=now + timedelta(days=1))
key = tokens.new_secret()
tokens.set_secret(token, secret=key, now=now)
token.save()
print(key)
"""
PUSHES = 8
# So many runs are requested before the upgrade, and so many after it.
RUNS = 12


@pytest.fixture
def first_database(process_environ: dict[str, str], older_code: Path) -> Iterator[dict[str, str]]:
    """The environment of programs with a database as the older commit left it."""
    with postgresql_programs.other_database(process_environ["DATABASE_URL"], "first") as url:
        env = {**process_environ, "DATABASE_URL": url}
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=older_code, env=env, check=True)
        yield env


class Traffic:
    """API requests to run every push, again and again as a data platform would. `answers` counts the results."""

    def __init__(self, url: str, token: str) -> None:
        self.answers: Counter[int] = Counter()
        self._url, self._token = url, token
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with requests.Session() as session:
            for number in itertools.cycle(range(1, PUSHES + 1)):
                if self._is_over.wait(0.1):
                    return
                address = f"{self._url}/api/v1/subscriptions/{number}/run"
                self.answers[session.post(address, headers=headers, timeout=120).status_code] += 1

    def wait_for_runs(self, count: int, stack: Stack) -> None:
        """Wait until `count` more runs have begun."""
        former = self.answers[202]
        eventually(lambda: self.answers[202] >= former + count, stack.programs.values())


@nightly
@pytest.mark.processes
@pytest.mark.parametrize("round_number", range(10))
def test_an_upgrade_under_the_traffic_of_the_first_release_harms_nobody(
    round_number: int,
    first_database: dict[str, str],
    older_code: Path,
    project_root: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    unlimited = dict.fromkeys(("API_CALLS_PER_TOKEN", "LIMIT_MEMBER_PER_MINUTE"), "100000")
    env = {**first_database, **unlimited, "PYTHONPATH": str(older_code)}
    members = [{"userid": f"p{number}", "name": f"员工{number}", "department": [2]} for number in range(PUSHES)]
    with start_sandbox(seed={"companies": [company(members=members, tags=[])]}) as sandbox, ExitStack() as exits:
        seed = [sys.executable, "-c", SEED, sandbox.base_url, CORPID, str(AGENTID), SECRET, str(PUSHES)]
        token = subprocess.run(seed, cwd=older_code, env=env, capture_output=True, text=True, check=True).stdout.strip()
        celery = [str(BIN / "celery"), "-A", "guanwecom"]
        stack = Stack(env=env, root=older_code, folder=tmp_path, sandbox=sandbox, celery=celery)
        stack.begin_web(exits)
        stack.start_worker(exits)
        stack.start_beat(exits)
        stack.wait_for_web()
        with Traffic(stack.web_url, token) as traffic:
            traffic.wait_for_runs(RUNS, stack)
            command = [sys.executable, "manage.py", "upgrade", "--no-static"]
            began = time.monotonic()
            done = run_program(command, cwd=project_root, env=first_database)
            took = time.monotonic() - began
            traffic.wait_for_runs(RUNS, stack)
        login_page = requests.get(f"{stack.web_url}/login/", timeout=60)
        with psycopg.connect(first_database["DATABASE_URL"], autocommit=True) as database:

            def count(what: str) -> int:
                [(found,)] = database.execute(f"SELECT {what}".encode()).fetchall()
                return int(found)

            runs = "count(*) FROM notifications_run WHERE status"
            eventually(lambda: count(f"{runs} IN ('waiting', 'sending')") == 0, stack.programs.values())
            arrived = [message for number in range(PUSHES) for message in sandbox.messages(CORPID, f"p{number}")]
            run_count, failed_count = count(f"{runs} = 'finished'"), count(f"{runs} = 'failed'")
            deadlocks = count("deadlocks FROM pg_stat_database WHERE datname = current_database()")
        logs = "".join(program.log.read_text(errors="replace") for program in stack.programs.values())

    record_property(
        "figures",
        f"{took:.0f} s, {run_count} runs, {len(arrived)} messages, {dict(traffic.answers)}, {deadlocks} deadlocks",
    )
    assert done.returncode == 0, done.stderr
    assert deadlocks == 0
    assert "Traceback" not in logs
    assert traffic.answers.keys() <= {202, 409}  # 409: the push is already running
    assert (len(arrived), failed_count) == (run_count, 0)
    assert {message["msgtype"] for message in arrived} == {"textcard"}
    assert login_page.status_code == 200
