"""Measure how fast distinct charts are drawn, uploaded and pushed, and the memory of the worker that draws them.

Run `python -m benchmarks.chart_push [KIND …] [--charts N]`. It pushes a report that shows each person only their own
rows, so that each gets a different chart. Beat, workers and servers are real. Figures are added to
benchmarks/results/chart_push.jsonl.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psutil

from benchmarks import runner
from benchmarks.goals import Goal, Measurement
from benchmarks.push_engine import THREADS, start_beat
from benchmarks.push_world import World, make_corps, make_people, read_cpu_seconds, read_process_cpu, run_world
from benchmarks.runner import ROOT
from integrations.data.table import Column, Kind
from tools.demo.program import make_charts_command

CHARTS_BY_DEFAULT = 1000
# Processes of the charts worker, as many as in compose.yaml and deploy/systemd.
PROCESSES = 2
# The goal is lower for kinds with much text, whose letters the renderer measures one by one.
GOALS_A_SECOND = {"line": 15, "number": 15, "donut": 8, "table": 8}
# Memory at which a drawing process is replaced, plus that of its parent process.
GOAL_MEGABYTES = 800

DAYS = 30
COLUMNS = (Column("门店", Kind.TEXT), Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER, "元"))
# Fields of a report's chart. A table has as many rows as fit on a page, a donut its largest days and the rest.
CHARTS: dict[str, dict[str, Any]] = {
    kind: {"kind": kind, "x": "日期", "y": "销售额", "title": "日销售额", "top": 20 if kind == "table" else 10}
    for kind in ("line", "table", "number", "donut")
}


def make_rows(person: int) -> list[tuple[Any, ...]]:
    """Return a row for each day."""
    first = date(2026, 10, 1)
    return [
        (f"门店{person}", first + timedelta(days=day), (person * 37 + day * day * 11) % 9973) for day in range(DAYS)
    ]


def measure(kind: str, charts: int) -> Measurement:
    with run_world() as world:
        world.start_sandbox(1, charts, latency_seconds=0)
        [corp] = make_corps(world, 1)
        make_people(corp, charts)
        run = _make_run(kind, charts)
        world.start_worker(0, THREADS)
        worker = _start_charts_worker(world)
        start_beat(world)
        from notifications import tasks

        before, started = {**read_cpu_seconds(world), "charts": read_process_cpu(worker.pid)}, time.perf_counter()
        tasks.enqueue_runs([run.pk])
        peak, drawn_seconds = _wait_until_accepted(run, charts, worker, started)
        seconds = time.perf_counter() - started
        after = {**read_cpu_seconds(world), "charts": read_process_cpu(worker.pid)}
        uploads = sum(call["errcode"] == 0 for call in _list_calls(world, "media/upload"))
        sent = sum(call["errcode"] == 0 for call in _list_calls(world, "message/send"))
        figures = {
            "kind": kind,
            "charts": charts,
            "seconds": round(seconds, 1),
            "pictures_a_second": round(charts / seconds, 2),
            "until_all_were_drawn": round(drawn_seconds, 1),
            "uploads": uploads,
            "messages": sent,
            "peak_megabytes_of_the_charts_worker": round(peak),
            "worker_processor_seconds": round(after["workers"] - before["workers"], 1),
            "processor_milliseconds_of_each": {
                name: round((after[name] - before[name]) / charts * 1000, 1) for name in before
            },
        }
    return figures, [
        Goal.of(f"chart, {kind}: pictures a second", charts / seconds, "≥", GOALS_A_SECOND[kind], digits=1),
        Goal.of(f"chart, {kind}: pictures uploaded", uploads, "=", charts),
        Goal.of(f"chart, {kind}: messages sent", sent, "=", charts),
        Goal.of(f"chart, {kind}: peak memory of the charts worker", peak, "<", GOAL_MEGABYTES, "MB"),
    ]


def _list_calls(world: World, path: str) -> list[dict[str, Any]]:
    if world.sandbox is None:
        raise RuntimeError("no sandbox")
    return list(world.sandbox.calls(path))


def _make_run(kind: str, charts: int) -> Any:
    """Make a run whose data is ready."""
    from accounts.models import Attribute, AttributeValue, User, fold_value
    from integrations.data.table import Table
    from integrations.models import Card, CardData, DataSource
    from integrations.models.datasources import compress_table
    from notifications.models import OwnRowsRule, Report, ReportCard, ReportChart, Run, Subscription

    now = datetime.now(UTC)
    names = [f"门店{number}" for number in range(charts)]
    shop = Attribute.objects.create(key="shop", name="门店")
    AttributeValue.objects.bulk_create(
        AttributeValue(user=person, attribute=shop, value=name, folded=fold_value(name))
        for person, name in zip(User.objects.order_by("pk"), names, strict=True)
    )
    rows = tuple(row for person in range(charts) for row in make_rows(person))
    card = Card.objects.create(source=DataSource.objects.create(name="观远", kind="guandata"), name="日销售额")
    CardData.objects.create(
        **{"card": card, "slot_at": now, "status": CardData.Status.READY, "row_count": len(rows)},
        **{"content": compress_table(Table(COLUMNS, rows, now)), "requested_at": now, "next_try_at": now},
        **{"finished_at": now, "notified_at": now},
    )
    report = Report.objects.create(title="门店日报", body="合计 {{ sales.sum('销售额') }} 元", is_template=True)
    ReportCard.objects.create(report=report, card=card, alias="sales")
    ReportChart.objects.create(report=report, alias="sales", **CHARTS[kind])
    OwnRowsRule.objects.create(report=report, alias="sales", column="门店", attribute=shop)
    subscription = Subscription.objects.create(
        name="门店日报", report=report, crontab="0 9 * * *", to_everyone=True, message_form="image"
    )
    return Run.objects.create(
        key="bench:charts", subscription=subscription, trigger="manual", slot_at=now, claimed_at=now, render_after=now
    )


def _start_charts_worker(world: World) -> subprocess.Popen[bytes]:
    """Start the charts worker as `make demo` does, with as many processes as in production."""
    command = [*make_charts_command(), "--autoscale", f"{PROCESSES},0"]
    process = subprocess.Popen(command, cwd=ROOT, env=world.env, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command
    world.exits.callback(process.wait)
    world.exits.callback(process.terminate)
    return process


def _wait_until_accepted(run: Any, charts: int, worker: subprocess.Popen[bytes], started: float) -> tuple[float, float]:
    """Wait for all messages. Return the charts worker's peak memory in MB, and the seconds until the last picture."""
    from notifications.models import Delivery, Medium

    peak, drawn_seconds = 0.0, 0.0
    ours = Delivery.objects.filter(run=run, status=Delivery.Status.ACCEPTED)
    while ours.count() < charts:
        peak = max(peak, _read_memory(worker.pid))
        if not drawn_seconds and Medium.objects.exists():
            is_drawn = not Medium.objects.filter(status=Medium.Status.WAITING).exists()
            drawn_seconds = time.perf_counter() - started if is_drawn else 0.0
        if time.perf_counter() - started > 1800:
            raise TimeoutError
        time.sleep(0.5)
    return peak, drawn_seconds


def _read_memory(pid: int) -> float:
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss / 2**20
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    # Python 3.13 also checks an empty list of arguments against the choices.
    parser.add_argument("kinds", nargs="*", choices=[[], *CHARTS])
    parser.add_argument("--charts", type=int, default=CHARTS_BY_DEFAULT)
    options = parser.parse_args()
    kinds = options.kinds or list(CHARTS)
    if len(kinds) == 1:
        return _measure_and_report(kinds[0], options.charts)
    return runner.run_each("chart_push", kinds, "--charts", str(options.charts))


def _measure_and_report(kind: str, charts: int) -> int:
    load = runner.read_load()
    figures, goals = measure(kind, charts)
    return runner.report_result("chart_push", {"load_before": load, **figures}, goals)


if __name__ == "__main__":
    sys.exit(main())
