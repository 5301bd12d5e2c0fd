"""The primary of two PostgreSQLs is killed while messages go out, and its standby is promoted."""

import os
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from integrations.core import installation
from integrations.models import Installation
from notifications.models import Attempt, Delivery, MessageForm, Run
from tests.crowd import count_messages_by_person
from tests.databases import use_database
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.delivery.many_people import (
    MESSAGES,
    ONE_EACH,
    all_accepted,
    ask_for_personal_messages,
    stack_of_many,
)
from tests.notifications.factories import make_subscription
from tests.postgresql_programs import execute
from tests.standby import start_standby
from tools.services import free_port, start_postgresql

pytestmark = [nightly, pytest.mark.processes]


def says(url: str, question: str) -> object:
    """Return the first value of the answer, or None while the server does not answer."""
    try:
        with psycopg.connect(url, autocommit=True) as asked:
            row = asked.execute(question.encode()).fetchone()
            return row[0] if row else None
    except psycopg.OperationalError:
        return None


def test_a_failover_loses_and_doubles_no_message(
    project_root: Path, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    with ExitStack() as exits:
        primary = start_postgresql(keeps_commits=True)
        exits.callback(primary.stop)
        standby = start_standby(primary, port=free_port())
        exits.callback(standby.stop)
        eventually(lambda: says(primary.url, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))
        execute(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        ports = [urlsplit(each).port for each in (standby.url, primary.url)]
        password = urlsplit(primary.url).password
        # The standby comes first and is skipped until it takes writes.
        url = f"postgresql://postgres:{password}@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/postgres"
        exits.enter_context(django_db_blocker.unblock())
        exits.enter_context(use_database(url))
        call_command("migrate", verbosity=0)
        env = {**os.environ, "DATABASE_URL": url, "SEND_PARALLEL_PER_TASK": "2", "PYTHONUNBUFFERED": "1"}
        stack = exits.enter_context(stack_of_many(env=env, root=project_root, folder=tmp_path))
        stack.sandbox.fault("slow", "message/send", seconds=0.5, count=None)
        worker, beat = stack.start_worker(exits), stack.start_beat(exits)
        ask_for_personal_messages()
        eventually(lambda: Attempt.objects.count() > 5, stack.programs.values())

        primary.kill()
        execute(standby.url, "SELECT pg_promote()")
        connection.close()
        tried = Attempt.objects.count()
        stack.sandbox.control("DELETE", "faults")
        eventually(all_accepted, stack.programs.values(), seconds=240)

        assert tried < MESSAGES
        assert [worker.process.poll(), beat.process.poll()] == [None, None]
        assert count_messages_by_person(stack) == ONE_EACH


def test_a_slot_that_an_asynchronous_standby_missed_arrives_once(
    project_root: Path, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    """WeCom drops the repeated messages as duplicates: the run made under the new primary has the same bytes."""
    with ExitStack() as exits:
        primary = start_postgresql(keeps_commits=True)
        exits.callback(primary.stop)
        exits.enter_context(django_db_blocker.unblock())
        ports = [int(urlsplit(primary.url).port or 0), free_port()]
        standby_url = primary.url.replace(f":{ports[0]}/", f":{ports[1]}/")
        url = primary.url.replace(f":{ports[0]}/", f":{ports[0]},127.0.0.1:{ports[1]}/")
        exits.enter_context(use_database(url))
        call_command("migrate", verbosity=0)
        installation.is_copy()
        env = {**os.environ, "DATABASE_URL": url, "PYTHONUNBUFFERED": "1"}
        stack = exits.enter_context(stack_of_many(env=env, root=project_root, folder=tmp_path))
        slot = timezone.now().replace(second=0, microsecond=0)
        valid: dict[str, Any] = {"valid_from": slot, "valid_to": slot + timedelta(seconds=30)}
        for form in (MessageForm.TEXT, MessageForm.MARKDOWN, MessageForm.TEXTCARD):
            make_subscription(to_everyone=True, message_form=form, crontab="* * * * *", next_run_at=slot, **valid)
        exits.callback(start_standby(primary, port=ports[1]).stop)
        eventually(lambda: says(primary.url, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))
        execute(standby_url, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        eventually(lambda: says(primary.url, "SELECT count(*) FROM pg_stat_replication") == 0)
        programs = [stack.start_worker(exits), stack.start_beat(exits)]
        eventually(lambda: Delivery.objects.filter(status=Delivery.Status.ACCEPTED).count() == 3, programs)

        primary.kill()
        execute(standby_url, "SELECT pg_promote()")
        connection.close()
        assert Run.objects.count() == 0
        eventually(lambda: Delivery.objects.filter(status=Delivery.Status.ACCEPTED).count() == 3, programs)

        assert count_messages_by_person(stack) == Counter(dict.fromkeys(ONE_EACH, 3))
        eventually(lambda: Installation.objects.get().failed_over_at, programs)
