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


@shared_task(name="accounts.burn_code", ignore_result=True, time_limit=60)
def burn_code(corp_id: int, sealed_code: str) -> None:
    """Spend a refused code, unless it is older than CODE_SECONDS. Safe to run twice: the second time WeCom reports it
    as used."""
    unsealed = unseal_values(backends.SEALED_CODE, sealed_code, seconds=CODE_SECONDS)
    code = AuthorizationCode(unsealed.pop()) if unsealed else None
    corp = Corp.objects.signing_in().filter(pk=corp_id).first()
    if code is None or corp is None:
        return
    outcome = "burned"
    try:
        wecom_client(corp).auth_getuserinfo(code.value)
    except IntegrationError as error:
        outcome = type(error).__name__
    logger.info("refused code spent corp=%s outcome=%s", corp_id, outcome)


@shared_task(name="accounts.purge_audit", ignore_result=True, expires=3600, time_limit=1800)
def purge_audit() -> None:
    """Remove old audit entries, wrong passwords, sessions and rows of imports. A repeat finds nothing."""
    now = database_now()
    passwords.delete_old_tries(now=now)
    sessions.purge(now=now)
    jobs.forget_old_rows(now=now)
    logger.info("audit entries removed count=%d", services.purge(now=now))


@shared_task(
    name=services.TASK, ignore_result=True, expires=services.TASK_EXPIRES_SECONDS, time_limit=services.LOCK_SECONDS
)
def send_audit(_entry_id: int) -> None:
    """Send all unsent entries to the syslog server. A repeat finds nothing."""
    try:
        services.send_unsent_entries()
    except OSError as error:
        logger.error("audit entries wait for the syslog server error=%s", type(error).__name__)


@shared_task(name="accounts.directory_tick", ignore_result=True, expires=59)
def directory_tick() -> None:
    """Request the nightly runs that are due, and queue unsent audit entries."""
    sync.request_nightly_runs(now=database_now())
    if services.count_unsent_entries().count:
        send_audit.delay(0)
