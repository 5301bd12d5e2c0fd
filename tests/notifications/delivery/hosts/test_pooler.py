"""Commands that need a session of their own refuse a pooler. Programs work behind one: tests/chaos."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from guanwecom.operations.upgrade import POOLED
from tests.databases import use_database
from tests.pooler import needs_pgbouncer, pgbouncer

pytestmark = [needs_pgbouncer, pytest.mark.processes]


@pytest.mark.parametrize("command", [["upgrade", "--no-static"], ["backup", "new.backup"]])
def test_commands_with_a_session_of_their_own_refuse_a_pooler(
    process_environ: dict[str, str], command: list[str]
) -> None:
    with pgbouncer(process_environ["DATABASE_URL"]) as url, use_database(url), pytest.raises(CommandError) as refused:
        call_command(*command)

    assert str(refused.value) == POOLED


@pytest.mark.parametrize(("command", "name"), [("upgrade", "direct"), ("check", "pooled")])
def test_they_take_the_direct_address(
    project_root: Path, process_environ: dict[str, str], command: str, name: str
) -> None:
    addresses = {"DATABASE_URL": "postgresql://u:p@h/pooled", "DATABASE_DIRECT_URL": "postgresql://u:p@h/direct"}
    code = "from guanwecom import settings; print(settings.DATABASES['default']['NAME'])"
    asked = [sys.executable, "-c", f"import sys; sys.argv[1:] = ['{command}']; {code}"]

    said = subprocess.check_output(asked, cwd=project_root, env={**process_environ, **addresses}, text=True)

    assert said == f"{name}\n"
