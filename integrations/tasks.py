"""Work in the background."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from integrations import console_writes, verification
from integrations.diagnosis import running

# A step of a change in WeCom that takes longer was broken off.
CONSOLE_WRITE_SECONDS = 180


@shared_task(name="integrations.run_check", expires=600, time_limit=120)
def run_check(run_id: int) -> None:
    """Run one check of a diagnosis, then queue what it has freed; a repeat of a finished one does nothing."""
    for freed in running.carry_out(run_id=run_id, clock=timezone.now):
        run_check.delay(freed)


@shared_task(name="integrations.retry_checks", expires=9, time_limit=60)
def retry_checks() -> None:
    """Queue the checks whose time has come to be tried again, and those whose place in the queue was lost."""
    for run_id in running.claim_due_again(now=timezone.now()):
        run_check.delay(run_id)


@shared_task(name="integrations.check_verification_file", expires=600, time_limit=60)
def check_verification_file(file_id: int) -> None:
    """Look for one verification file at its public address; a repeat of a finished check does nothing."""
    verification.run_check(file_id=file_id, clock=timezone.now)


@shared_task(name="integrations.run_console_write", expires=600, time_limit=CONSOLE_WRITE_SECONDS)
def run_console_write(write_id: int) -> None:
    """Take the next step of a change in WeCom: read for its preview, or write it once confirmed, then look at it."""
    written = console_writes.run_write(write_id=write_id, clock=timezone.now)
    if written is not None:
        checks = console_writes.CHECKS_AFTER[written.kind]
        for run in running.request_checks(corp=written.corp, checks=checks, now=timezone.now()):
            run_check.delay(run.pk)
