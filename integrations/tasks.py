"""Work in the background."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from integrations import connection, verification


@shared_task(name="integrations.run_connection_test", expires=600, time_limit=180)
def run_connection_test(test_id: int) -> None:
    """Run one connection test; a repeat of a finished one does nothing."""
    connection.run_connection_test(test_id=test_id, clock=timezone.now)


@shared_task(name="integrations.check_verification_file", expires=600, time_limit=60)
def check_verification_file(file_id: int) -> None:
    """Look for one verification file at its public address; a repeat of a finished check does nothing."""
    verification.run_check(file_id=file_id, clock=timezone.now)
