"""Celery tasks and the tick of integrations."""

from __future__ import annotations

from datetime import datetime

from celery import shared_task

from integrations import bi, callbacks
from integrations.companies import console, links, services
from integrations.companies.diagnosis import checks
from integrations.core.background import Tick, database_clock, database_now
from integrations.datasources import catalogue, fetch, source_tests
from integrations.jobs import requests
from integrations.jobs import runner as jobs_runner

# The modules whose import registers kinds of jobs.
KINDS = (source_tests, bi, callbacks, catalogue, console, links, checks, services)


@shared_task(name=requests.TASK, ignore_result=True, acks_late=False)
def run_job(job_id: int) -> None:
    """Run one job; a repeat of a finished one does nothing. The message is acknowledged early, because a job that takes
    longer than the broker waits must not start twice; if the worker dies, the tick queues the row again."""
    jobs_runner.run_job(job_id)


@shared_task(name=fetch.TASK, ignore_result=True, expires=fetch.TASK_SECONDS)
def fetch_card_data(row_id: int) -> None:
    """Fetch the data of one card for one slot; a repeat finds nothing to do."""
    fetch.fetch_row(row_id=row_id, clock=database_clock())


TICK = Tick("integrations.tick", at_least_every_seconds=60)
TICK.step(lambda now: [requests.find_unqueued_jobs(now), requests.find_outdated_jobs(now)])(requests.sweep_jobs)


@TICK.step(fetch.find_due_rows)
def sweep_card_data(now: datetime) -> None:
    """Queue due rows: retries, and rows lost by a queue or a worker. Delete old rows."""
    fetch.requeue_lost_rows(clock=database_clock())
    fetch.delete_old_rows(now=now)


TICK.step(lambda now: [links.find_due_certificates(now)])(links.request_due_certificates)


@shared_task(name=TICK.name, ignore_result=True, expires=9, time_limit=60)
def tick() -> None:
    """Do the steps of TICK. Beat queues this task when work is due, and every minute in any case."""
    if TICK.is_anything_due():
        TICK.do_steps(now=database_now())
