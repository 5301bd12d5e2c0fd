"""Programs behind a pgbouncer in transaction mode work; commands that need a session of their own refuse it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from guanwecom.operations.upgrade import POOLED
from tests.crowd import arrived_by_person
from tests.databases import used
from tests.e2e.waiting import eventually
from tests.notifications.delivery.many_people import ONE_EACH, all_accepted, ask_for_personal_messages, stack_of_many
from tests.pooler import needs_pgbouncer, pgbouncer

pytestmark = [needs_pgbouncer, pytest.mark.processes]


def test_all_messages_arrive_through_pgbouncer(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    with pgbouncer(process_environ["DATABASE_URL"]) as url:
        env = {**process_environ, "DATABASE_URL": url, "SEND_PARALLEL_PER_TASK": "2"}
        with stack_of_many(env=env, root=project_root, folder=tmp_path) as stack, ExitStack() as exits:
            programs = [stack.start_worker(exits), stack.start_beat(exits), stack.start_web(exits)]
            stack.wait_for_web()
            ask_for_personal_messages()
            eventually(all_accepted, stack.programs.values(), seconds=120)

            assert arrived_by_person(stack) == ONE_EACH
            assert [one.process.poll() for one in programs] == [None] * 3
            assert not [one.name for one in programs if "does not exist" in one.log.read_text()]


@pytest.mark.parametrize("command", [["upgrade", "--no-static"], ["backup", "new.backup"]])
def test_commands_with_a_session_of_their_own_refuse_a_pooler(
    process_environ: dict[str, str], command: list[str]
) -> None:
    with pgbouncer(process_environ["DATABASE_URL"]) as url, used(url), pytest.raises(CommandError) as refused:
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
