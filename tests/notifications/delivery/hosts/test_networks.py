"""Workers on two hosts, one of which loses its way to our services while its way to WeCom stays open."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from notifications.models import Attempt
from tests.crowd import count_messages_by_person
from tests.e2e.stack import BIN, Program, Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.delivery.hosts.networks import (
    HAS_NAMESPACES,
    SERVICES,
    WECOM,
    Forwarder,
    Host,
    hosts,
    to_services,
)
from tests.notifications.delivery.many_people import (
    MESSAGES,
    ONE_EACH,
    all_accepted,
    ask_for_personal_messages,
    stack_of_many,
)

pytestmark = [
    nightly,
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not HAS_NAMESPACES, reason="needs root and the program ip"),
]


@dataclass
class Town:
    """The stack, its hosts and workers. `services` forward to PostgreSQL and Valkey."""

    stack: Stack
    hosts: list[Host]
    services: list[Forwarder]
    workers: list[Program]


@contextmanager
def town(env: dict[str, str], root: Path, folder: Path) -> Iterator[Town]:
    """Run two hosts with a worker of all queues each; beat runs on this machine."""
    with ExitStack() as exits:
        stack = exits.enter_context(stack_of_many(env=env, root=root, folder=folder))
        both = exits.enter_context(hosts(2))
        sandbox = urlsplit(stack.sandbox.base_url)
        ports = [urlsplit(env["DATABASE_URL"]).port or 0, urlsplit(settings.VALKEY_URL).port or 0]
        services = [Forwarder((SERVICES, port), ("127.0.0.1", port)) for port in ports]
        wecom_port = sandbox.port or 0
        wecom = Forwarder((WECOM, wecom_port), ("127.0.0.1", wecom_port))
        for each in (*services, wecom):
            exits.callback(each.close)
        for host in both:
            way = [*host.command, sys.executable, "-m", "tests.notifications.delivery.hosts.networks", str(wecom_port)]
            stack.start(f"way-{host.number}", way, exits)
        stack.sandbox.fault("slow", "message/send", seconds=0.5, count=None)
        stack.start_beat(exits)
        here = stack.env
        names = {name: here[name].replace("127.0.0.1", SERVICES) for name in ("DATABASE_URL", "VALKEY_URL")}
        stack.env = {**here, **names, "SEND_PARALLEL_PER_TASK": "2"}
        yield Town(stack, both, services, [])


def begin_workers(town: Town, exits: ExitStack) -> None:
    for host in town.hosts:
        celery = [str(BIN / "celery"), "-A", "guanwecom", "worker"]
        options = ["--pool", "threads", "--concurrency", "4", "--loglevel", "INFO", "-n", host.name]
        worker = town.stack.start(host.name, [*host.command, *celery, *options], exits)
        wait_for_log("ready.", worker)
        town.workers.append(worker)


def cut(town: Town) -> None:
    town.hosts[0].lose_outgoing()
    town.hosts[0].lose_incoming()


def half_open(town: Town) -> None:
    town.hosts[0].lose_incoming()


def slow(town: Town) -> None:
    for each in town.services:
        each.seconds = 0.05


@pytest.mark.parametrize("trouble", [cut, half_open, slow])
def test_nobody_gets_it_twice_and_nobody_goes_without(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path, trouble: Callable[[Town], None]
) -> None:
    with town(process_environ, project_root, tmp_path) as made, ExitStack() as exits:
        programs = made.stack.programs.values()
        begin_workers(made, exits)
        ask_for_personal_messages()
        eventually(lambda: Attempt.objects.count() > 5, programs)

        lost_host = made.workers[0].process.pid
        before = to_services(lost_host)
        trouble(made)
        tried = Attempt.objects.count()
        made.stack.sandbox.control("DELETE", "faults")
        eventually(all_accepted, programs, seconds=240)
        if trouble is not slow:
            # The connections of the lost host end because nothing is acknowledged.
            eventually(lambda: not before & to_services(lost_host), programs)
        for host in made.hosts:
            host.heal()

        assert before
        assert tried < MESSAGES
        assert count_messages_by_person(made.stack) == ONE_EACH
        assert [worker.process.poll() for worker in made.workers] == [None, None]
