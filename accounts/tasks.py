"""Celery tasks of accounts."""

from __future__ import annotations

import logging

from celery import shared_task

from accounts.audit import services
from accounts.authentication import backends, passwords, sessions
from accounts.authentication.backends import AuthorizationCode
from accounts.authentication.flow import CODE_SECONDS, unseal_values
from accounts.directory import sync
from accounts.importexport import jobs
from integrations.clients.errors import IntegrationError
from integrations.core.background import database_now
from integrations.core.client_factory import wecom_client
from integrations.models import Corp

logger = logging.getLogger(__name__)


@shared_task(name="accounts.burn_code", ignore_result=True, time_limit=60)  # an older name, which queues hold
def redeem_refused_code(corp_id: int, sealed_code: str) -> None:
    """Redeem a refused code, so that nobody else can redeem it. Does nothing if the code is older than CODE_SECONDS. A
    second run is harmless: WeCom rejects the code."""
    unsealed = unseal_values(backends.SEALED_CODE, sealed_code, seconds=CODE_SECONDS)
    code = AuthorizationCode(unsealed.pop()) if unsealed else None
    corp = Corp.objects.signing_in().filter(pk=corp_id).first()
    if code is None or corp is None:
        return
    outcome = "redeemed"
    try:
        wecom_client(corp).auth_getuserinfo(code.value)
    except IntegrationError as error:
        outcome = type(error).__name__
    logger.info("refused code redeemed corp=%s outcome=%s", corp_id, outcome)


@shared_task(name="accounts.purge_audit", ignore_result=True, expires=3600, time_limit=1800)
def purge_old_records() -> None:
    """Delete old audit entries, and old records of wrong passwords, sessions and imports. A second run is harmless."""
    now = database_now()
    passwords.delete_old_tries(now=now)
    sessions.delete_old_rows(now=now)
    jobs.delete_old_rows(now=now)
    logger.info("audit entries deleted count=%d", services.purge_entries(now=now))


@shared_task(
    name=services.SEND_TASK, ignore_result=True, expires=services.TASK_EXPIRES_SECONDS, time_limit=services.LOCK_SECONDS
)
def send_audit_entries(_entry_id: int) -> None:
    """Send all unsent entries to the syslog server, not only the one that was queued. A second run sends nothing."""
    try:
        services.send_unsent_entries()
    except OSError as error:
        logger.error("audit entries not sent to the syslog server error=%s", type(error).__name__)


@shared_task(name="accounts.directory_tick", ignore_result=True, expires=59)
def request_due_work() -> None:
    """Request the nightly directory runs that are due, and queue the sending of unsent audit entries."""
    sync.request_nightly_runs(now=database_now())
    if services.count_unsent_entries().count:
        send_audit_entries.delay(0)  # the task ignores the id
