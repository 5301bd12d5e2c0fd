"""The disturbances of a town, by the kinds that the plan names."""

import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import redis
from django.db import connection

from accounts.models import fold_userid
from integrations.companies import services
from integrations.models import Corp
from notifications.delivery.runs import recall
from notifications.delivery.runs.recall import withdraw_recipients
from notifications.delivery.runs.triggers import can_be_resent, request_resend
from notifications.models import Attempt, Report, Run, Subscription
from tests.chaos import database
from tests.chaos.orders import administrator
from tests.chaos.plan import Disturbance
from tests.chaos.town import Town, corpid, kill_with_children, userids, with_servers
from tests.e2e.stack import ProcessFailed
from tests.sandbox_process import AGENTID

# Less than Valkey holds already, so that it refuses every write.
NO_MEMORY_BYTES = 1
PATIENCE_SECONDS = 20.0
# Longer than a lease: others take over a sleeping machine's work before hours pass.
SLEEPS_SECONDS = 7.0


class Breaker:
    def __init__(self, town: Town) -> None:
        self._town = town
        # A program, server or company has one disturbance at a time.
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def disturb(self, what: Disturbance) -> None:
        with self._locks[what.target or what.kind]:
            getattr(self, f"_{what.kind}")(what)

    # --- Programs and servers -----------------------------------------------------------------------------------------

    def _kill(self, what: Disturbance) -> None:
        town = self._town
        if what.target == "sandbox":
            town.wecom.kill()
            time.sleep(what.seconds)
            town.stack.sandbox = town.wecom.start()
            return
        service = town.services.get(what.target)
        if service is not None:
            service.kill()
            time.sleep(what.seconds)
            service.restart()
            return
        kill_with_children(town.running[what.target])
        time.sleep(what.seconds)
        self._start_again(what.target)

    def _start_again(self, name: str) -> None:
        with suppress(ProcessFailed):  # it ends while it starts, as beside a full Valkey, and is revived later
            self._town.start(name)

    def _restart(self, what: Disturbance) -> None:
        self._town.services[what.target].restart()

    def _stop(self, what: Disturbance) -> None:
        self._town.running[what.target].stop()
        self._start_again(what.target)

    def _freeze(self, what: Disturbance) -> None:
        with self._stopped(what.target):
            time.sleep(what.seconds)

    @contextmanager
    def _stopped(self, target: str) -> Iterator[None]:
        processes = self._processes(target)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    def _processes(self, target: str) -> list[psutil.Process]:
        town = self._town
        if target == "sandbox":
            return [psutil.Process(town.stack.sandbox.pid)]
        process = town.services[target].process if target in town.services else town.running[target].process
        try:
            program = psutil.Process(process.pid)
            return [program, *program.children(recursive=True)]
        except psutil.NoSuchProcess:  # it ended by itself and is revived later
            return []

    def _old_snapshot(self, what: Disturbance) -> None:
        """Kill Valkey and restart it with its data of some seconds before: tasks, counts and states."""
        broker = self._town.broker
        self._ask_broker(lambda store: store.save())
        time.sleep(what.seconds)
        broker.kill()
        broker.restart()
        (broker.folder / "dump.rdb").unlink(missing_ok=True)

    def _flush(self, _what: Disturbance) -> None:
        self._ask_broker(lambda store: store.flushall())

    def _full(self, what: Disturbance) -> None:
        if what.target == "database":
            with database.full(self._town.database.url):
                time.sleep(what.seconds)
            return
        self._ask_broker(lambda store: store.config_set("maxmemory", NO_MEMORY_BYTES))
        time.sleep(what.seconds)
        self._ask_broker(lambda store: store.config_set("maxmemory", 0))

    def _ask_broker(self, ask: Callable[[redis.Redis], object]) -> None:
        def work() -> None:
            with redis.Redis.from_url(self._town.broker.url) as store:
                ask(store)

        with_servers(work)

    def _read_only(self, what: Disturbance) -> None:
        with database.read_only(self._town.database.url):
            time.sleep(what.seconds)

    def _crowd(self, what: Disturbance) -> None:
        with database.crowded(self._town.database.url):
            time.sleep(what.seconds)

    def _cut(self, _what: Disturbance) -> None:
        database.cut(self._town.database.url)

    def _promote(self, what: Disturbance) -> None:
        self._town.fail_over()

    # --- Clocks -------------------------------------------------------------------------------------------------------

    def _jump(self, what: Disturbance) -> None:
        self._town.move_clock(what.seconds)

    def _step(self, what: Disturbance) -> None:
        """Move the time of day of one program's host, or of Valkey's, until the round is mended."""
        self._town.stack.clocks.move(what.target, int(what.seconds))

    def _sleep(self, what: Disturbance) -> None:
        """Let a worker's machine sleep while it sends; others take over. It wakes up after hours."""
        town = self._town
        town.control("POST", "faults", {"kind": "slow", "endpoint": "message/send", "seconds": 1.0, "count": 6})
        _wait_for(lambda: Attempt.objects.filter(finished_at__isnull=True).exists())
        with self._stopped(what.target):
            time.sleep(SLEEPS_SECONDS)
            # A slot that no worker has begun would be missed.
            _wait_for(lambda: not Run.objects.filter(status=Run.Status.WAITING).exists())
            town.pass_world(int(what.seconds))

    # --- WeCom --------------------------------------------------------------------------------------------------------

    def _fault(self, what: Disturbance) -> None:
        self._town.control("POST", "faults", what.fault)

    def _disable(self, what: Disturbance) -> None:
        corp = self._town.corps[int(what.target)]
        self._town.barred.add(corp.pk)
        with_servers(lambda: services.disable_corp(corp=corp))
        time.sleep(what.seconds)
        with_servers(lambda: Corp.objects.filter(pk=corp.pk).update(is_enabled=True))

    def _invalidate(self, what: Disturbance) -> None:
        path = f"companies/{corpid(int(what.target))}/apps/{AGENTID}/invalidate"
        self._town.control("POST", path, {"code": 40014})

    def _reset_secret(self, what: Disturbance) -> None:
        number = int(what.target)
        self._town.secrets[number] = uuid.uuid4().hex
        path = f"companies/{corpid(number)}/apps/{AGENTID}"
        self._town.control("PATCH", path, {"secret": self._town.secrets[number]})

    def _disable_member(self, what: Disturbance) -> None:
        number = int(what.target)
        userid = userids(number)[0]
        self._town.deaf.add((corpid(number), userid.lower()))
        self._town.set_status(number, userid, 2)

    # --- People -------------------------------------------------------------------------------------------------------

    def _leave(self, what: Disturbance) -> None:
        """Let WeCom refuse some people of a company. Messages that wait for them are withdrawn at once."""
        town, number = self._town, int(what.target)
        corp = town.corps[number]
        mine = [fold_userid(userid) for userid in userids(number)[-int(what.seconds) :]]
        town.left |= {f"{corp.pk}:{userid}" for userid in mine}
        with_servers(lambda: withdraw_recipients(corp, mine, town.now()))

    def _edit(self, what: Disturbance) -> None:
        """Save another text of a report, perhaps between freezing and sending."""
        order = self._order_of(what)
        with_servers(lambda: Report.objects.filter(pk=order.report_id).update(body="改过的正文。", title="改过的标题"))

    def _recall(self, what: Disturbance) -> None:
        with_servers(lambda: self._act_on_run(what, recalls=True))

    def _resend(self, what: Disturbance) -> None:
        with_servers(lambda: self._act_on_run(what, recalls=False))

    def _act_on_run(self, what: Disturbance, *, recalls: bool) -> None:
        """Act on the newest run of an order, if there is one, as far as its state allows."""
        order = self._order_of(what)
        runs = Run.objects.filter(subscription=order, resends=None).select_related("subscription__report")
        run = runs.order_by("-pk").first()
        if run is None:
            return
        person, now = administrator(), self._town.now()
        if recalls and recall.can_be_recalled(run, now=now):
            recall.request_recall(run, person=person, now=now)
        elif not recalls and can_be_resent(run):
            request_resend(run, number=1, with_unknown=False, person=person, now=now)

    def _order_of(self, what: Disturbance) -> Subscription:
        return self._town.orders[int(what.target) % len(self._town.orders)]


def _wait_for(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not with_servers(look):
        time.sleep(0.1)


@contextmanager
def at_once(breaker: Breaker, plan: list[Disturbance]) -> Iterator[None]:
    """Run the disturbances, each in its thread at its time. All of them are over when the block ends."""
    failures: list[BaseException] = []

    def run(what: Disturbance) -> None:
        time.sleep(what.at)
        try:
            breaker.disturb(what)
        except BaseException as error:  # noqa: BLE001  # raised below, in the thread that waits
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(what,)) for what in plan]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
