"""The primary of two Valkeys falls silent and a Sentinel promotes the replica: all clients and messages follow."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from notifications.models import Attempt, Run
from tests.crowd import count_messages_by_person
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.delivery.hosts.sentinel import SENTINEL_PASSWORD, Watched, watched_valkeys
from tests.notifications.delivery.many_people import ONE_EACH, all_accepted, ask_for_personal_messages, stack_of_many

# A program with settings of its own, which uses every client of Valkey once for each line that it reads. One client
# reads what another wrote, so all use the same database of the same server.
SPEAK = """
import json
import sys
import time
import django
django.setup()
import redis
from django.core.cache import cache
from guanwecom.celery import app
from integrations.core.redis import valkey

def spoken():
    valkey().set("by us", 1)
    cache.set("by the cache", 2)
    with app.connection_for_write() as connection:
        broker = connection.default_channel.client
        broker.set("by the broker", 3)
        port = broker.connection_pool.get_master_address()[1]
        read = [broker.get("by us"), valkey().get(":1:by the cache"), valkey().get("by the broker")]
    return {"read": [found.decode() for found in read], "port": port}

def again_and_again():
    while True:
        try:
            return spoken()
        except (redis.RedisError, OSError):
            time.sleep(0.1)

for _line in sys.stdin:
    print(json.dumps(again_and_again()), flush=True)
"""


@pytest.fixture
def valkeys() -> Iterator[Watched]:
    with watched_valkeys() as watched:
        yield watched


def environ(valkeys: Watched) -> dict[str, str]:
    return {"VALKEY_URL": valkeys.url, "VALKEY_SENTINEL_PASSWORD": SENTINEL_PASSWORD}


@nightly
def test_every_door_leads_to_the_primary_before_and_after(project_root: Path, valkeys: Watched) -> None:
    env = {**os.environ, **environ(valkeys), "DJANGO_SETTINGS_MODULE": "guanwecom.settings"}
    with subprocess.Popen(
        [sys.executable, "-c", SPEAK], env=env, cwd=project_root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as speaker:
        assert speaker.stdin
        assert speaker.stdout
        ports = []
        for primary in (valkeys.primary, valkeys.replica):
            speaker.stdin.write(b"speak\n")
            speaker.stdin.flush()
            answer = json.loads(speaker.stdout.readline())
            assert answer["read"] == ["1", "2", "3"]
            ports.append(answer["port"])
            primary.kill()
        speaker.stdin.close()

    assert ports == [urlsplit(each.url).port for each in (valkeys.primary, valkeys.replica)]


@nightly
@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_failover_loses_and_doubles_no_message(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path, valkeys: Watched
) -> None:
    env = {**process_environ, **environ(valkeys), "SEND_PARALLEL_PER_TASK": "2"}
    with stack_of_many(env=env, root=project_root, folder=tmp_path) as stack, ExitStack() as exits:
        stack.sandbox.fault("slow", "message/send", seconds=0.5, count=None)
        worker, beat = stack.start_worker(exits), stack.start_beat(exits)
        ask_for_personal_messages()
        # This process uses another broker, so the tick has to find the runs.
        Run.objects.update(render_after=datetime.now(UTC))
        eventually(lambda: Attempt.objects.count() > 5, stack.programs.values())

        valkeys.primary.process.send_signal(signal.SIGSTOP)
        replica_port = urlsplit(valkeys.replica.url).port
        eventually(lambda: valkeys.primary_port() == replica_port, stack.programs.values())
        tried = Attempt.objects.count()
        # It wakes as a primary, and the Sentinel makes it a replica.
        valkeys.primary.process.send_signal(signal.SIGCONT)
        eventually(lambda: Attempt.objects.count() > tried, stack.programs.values())
        stack.sandbox.control("DELETE", "faults")

        eventually(all_accepted, stack.programs.values(), seconds=240)

        assert [worker.process.poll(), beat.process.poll()] == [None, None]
        assert count_messages_by_person(stack) == ONE_EACH
        assert tried < len(ONE_EACH)
