"""The push engine's services under a clock that the test moves, with a sandbox in this process.

The tests do the tasks' work themselves and in any order, so that a worker can end between any two steps.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from wecom_sandbox.limits.limits import Fault
from wecom_sandbox.server import ListenOptions, run_server
from wecom_sandbox.state.world import Clock, World

from integrations.clients.wecom.errcodes import STALE_TOKEN_CODES
from notifications.delivery import maintenance
from notifications.delivery.channels import SENDERS
from notifications.delivery.limiter import Gate
from notifications.delivery.rendering import render
from notifications.delivery.runs import recall, scheduler
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.delivery.sending.queue import claim_deliveries, ensure_queues, hand_out_deliveries
from notifications.delivery.sending.send import SendTask, send_deliveries
from notifications.delivery.sending.settle import EndedCall, settle_calls
from tests.chaos.judge import Arrived, count_arrived, find_due_moments
from tests.notifications.conftest import FakeClock

MINUTE_SECONDS = 60


class FollowingClock(Clock):
    """The sandbox's clock, which shows the time of the test's clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._followed = clock

    def now(self) -> float:
        return self._followed.now.timestamp()


@contextmanager
def sandbox_in_thread(world: World) -> Iterator[str]:
    """Serve `world` from a thread of this process, which may change it between calls. Yield the address."""
    port: Future[int] = Future()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        ending = asyncio.Event()
        stop.append((asyncio.get_running_loop(), ending))
        async with run_server(world, ListenOptions("127.0.0.1", 0)) as ports:
            port.set_result(ports.plain)
            await ending.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port.result(timeout=60)}"
    finally:
        loop, ending = stop[0]
        loop.call_soon_threadsafe(ending.set)
        thread.join()


@dataclass
class Engine:
    """Beat, broker and workers.

    `broker` holds published tasks that no worker has taken; `gone` holds calls, with their answers, of workers that
    died or were thought dead.
    """

    clock: FakeClock
    world: World
    store: Any
    broker: deque[tuple[str, list[int]]] = field(default_factory=deque)
    gone: list[EndedCall] = field(default_factory=list)

    def gate(self, lease_seconds: float) -> Gate:
        """Return the limiter on the test's clock."""
        return Gate(self.store, lease_seconds=lease_seconds, now_ms=lambda: round(self.clock.now.timestamp() * 1000))

    def tick(self) -> None:
        now = self.clock.now
        self._publish("render", scheduler.claim_due_subscriptions(now=now))
        ensure_queues()
        self._publish("render", maintenance.sweep_deliveries(now=now))
        self._publish("render", request_owner_notices(now=now))
        self._hand_out()
        self._publish("recall", recall.hand_out_recalls(now=now))

    def do_task(self, position: int) -> None:
        kind, ids = self._take_task(position)
        if kind == "render":
            if render.render_runs(ids, clock=self.clock, is_stopping=_never):
                self._hand_out()
        elif kind == "recall":
            recall.recall_deliveries(ids, clock=self.clock, is_stopping=_never)
        else:
            send_deliveries(ids, clock=self.clock, is_stopping=_never)

    def stop_at(self, position: int) -> None:
        """Take a task as a worker that was already asked to end."""
        kind, ids = self._take_task(position)
        if kind == "render":
            render.render_runs(ids, clock=self.clock, is_stopping=lambda: True)
        elif kind == "recall":
            recall.recall_deliveries(ids, clock=self.clock, is_stopping=lambda: True)
        else:
            send_deliveries(ids, clock=self.clock, is_stopping=lambda: True)

    def die_before_the_call(self, position: int) -> None:
        kind, ids = self._take_task(position)
        if kind == "send":
            self._claim(ids)

    def die_after_the_call(self, position: int) -> None:
        """Call WeCom and do not store the answers; `settle_late` may do it later."""
        kind, ids = self._take_task(position)
        if kind != "send":
            return
        for delivery in self._claim(ids):
            outcome = SENDERS[delivery.channel].make_call(delivery)()
            self.gone.append(EndedCall(delivery, outcome, 10, self.clock.now))

    def settle_late(self) -> None:
        """Settle the answers of workers that were thought dead."""
        ended, self.gone = self.gone, []
        settle_calls(ended)

    def lose_store(self) -> None:
        """Restart Valkey: tasks, tokens and the limiter's counts are gone."""
        self.store.flushdb()
        self.broker.clear()

    def work_off(self) -> bool:
        """Tick, and do tasks until none is left. Return whether there was any."""
        self.tick()
        has_work = bool(self.broker)
        while self.broker:
            self.do_task(0)
        return has_work

    def next_moment(self) -> None:
        """Move the clock to the next time at which something is due, by ten minutes at most."""
        now = self.clock.now
        due = min(each for each in [now + timedelta(minutes=10), *find_due_moments()] if each > now)
        self.clock.now = max(now + timedelta(seconds=1), due) + timedelta(seconds=1)

    def wecom_will(self, kind: str, **values: object) -> None:
        """Add a fault of the sandbox for the next calls."""
        self.world.faults.add(Fault.from_json({"kind": kind, "endpoint": "message/send", **values}))

    def count_arrived(self) -> Arrived:
        found: Arrived = Arrived()
        for corpid in self.world.companies:
            theirs = [each for each in self.world.mail.messages.values() if each.corpid == corpid]
            found += count_arrived([each.as_json() for each in theirs], corpid)
        return found

    def most_calls_in_a_minute(self, corpid: str) -> list[float]:
        """Return the times of the calls in the fullest 60 seconds.

        WeCom does not count a call with an invalid token, which the client repeats with a new one: it checks the token
        before the frequency (docs/en/sandbox.md).
        """
        times = [
            call.at
            for call in self.world.calls
            if call.corpid == corpid and call.path.endswith("message/send") and call.errcode not in STALE_TOKEN_CODES
        ]
        windows = [[time for time in times if start <= time < start + MINUTE_SECONDS] for start in times]
        return max(windows, key=len, default=[])

    def _claim(self, ids: list[int]) -> list[Any]:
        admitted = SendTask(ids, self.clock, _never)._admit_waiting(len(ids))
        return claim_deliveries([each for each, _permit in admitted], now=self.clock.now)

    def _hand_out(self) -> None:
        while found := hand_out_deliveries(now=self.clock.now):
            self._publish("send", found.urgent)
            self._publish("send", found.ordinary)

    def _publish(self, kind: str, ids: list[int]) -> None:
        if ids:
            self.broker.append((kind, ids))

    def _take_task(self, position: int) -> tuple[str, list[int]]:
        self.broker.rotate(-(position % len(self.broker)))
        return self.broker.popleft()


def _never() -> bool:
    return False
