"""The diagnosis as text, to be sent to support. No secret is in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote, urlsplit

from django.utils.translation import gettext as _

from integrations.companies import links
from integrations.companies.diagnosis.checks import CHECKS
from integrations.companies.diagnosis.findings import Status
from integrations.companies.diagnosis.results import explanation, is_current, label, latest
from integrations.core.client_factory import CALLBACK_COLUMNS
from integrations.models import CheckRun, Corp
from integrations.models.fields import Unreadable

_SECRET_COLUMNS = (
    *("secret", "contacts_secret"),
    *(name for columns in CALLBACK_COLUMNS.values() for name in (columns.token, columns.aes_key)),
)
# Shorter ones are no secrets, and would tear holes into every word.
_SECRET_AT_LEAST = 4


def export_text(corp: Corp, *, now: datetime) -> str:
    """Everything that support needs to know of the corp's connection, in the active language."""
    runs = latest(corp)
    lines = [*_head(corp, now), ""]
    for name in CHECKS:
        lines += [*_of_check(name, runs.get(name), corp), ""]
    return _scrubbed("\n".join(lines), corp)


def _head(corp: Corp, now: datetime) -> Iterator[str]:
    yield _("Diagnosis of “%(corp)s”, %(time)s") % {"corp": corp.name, "time": now.isoformat(timespec="seconds")}
    yield f"CorpId {corp.corpid}, AgentId {corp.agentid}, connection {corp.connection_version}"
    answers = {True: _("yes"), False: _("no")}
    values = {
        _("site address"): links.site_address_for(corp).url,
        _("API address"): corp.api_base_url,
        _("enabled"): answers[corp.is_enabled],
        _("sign-in with WeCom"): answers[corp.sign_in_enabled],
    }
    yield from (f"{name}: {value}" for name, value in values.items())


def _of_check(name: str, run: CheckRun | None, corp: Corp) -> Iterator[str]:
    if run is None:
        yield f"[{Status.SKIPPED.label}] {label(name)} ({name})"
        return
    yield f"[{run.get_status_display()}] {label(name)} ({name})"
    times = {"requested": run.requested_at, "finished": run.finished_at, "next try": run.next_try_at}
    yield "  " + ", ".join(f"{key} {moment.isoformat(timespec='seconds')}" for key, moment in times.items() if moment)
    if not is_current(run, corp):
        yield "  " + _("Something was changed after this: check again.")
    yield from (f"  {text}" for text in explanation(run).sentences)
    if technical(run):
        yield f"  {technical(run)}"


def technical(run: CheckRun) -> str:
    """One line for support: numbers and words of the other side."""
    parts = [f"check {run.check_name}"]
    parts += [f"problem {run.problem}"] if run.problem else []
    parts += [f"errcode {run.errcode}"] if run.errcode is not None else []
    parts += [run.detail] if run.detail else []
    parts += [f"hint {run.hint}"] if run.hint else []
    parts += [f"ip {run.caller_ip}"] if run.caller_ip else []
    return "; ".join(parts)


def _scrubbed(text: str, corp: Corp) -> str:
    """Why, as nothing secret is noted? What another server answers is noted, and that may be anything."""
    for secret in sorted(_secrets(corp), key=len, reverse=True):
        for spelling in {secret, quote(secret, safe="")}:
            text = text.replace(spelling, "***")
    return text


def _secrets(corp: Corp) -> set[str]:
    found: set[str] = set()
    for name in (*_SECRET_COLUMNS, "proxy_url"):
        # One by one, because the page's own query leaves them out.
        value = Corp.objects.values_list(name, flat=True).get(pk=corp.pk)
        if isinstance(value, Unreadable):
            continue
        if value and name == "proxy_url":
            found |= {value, urlsplit(value).password or ""}
        elif value:
            found.add(value)
    return {secret for secret in found if len(secret) >= _SECRET_AT_LEAST}
