"""Changes of an app's settings in WeCom: a preview, then the write of home page and trusted domain, or of the menu."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import TextChoices
from django.utils import translation
from django.utils.translation import gettext_lazy, gettext_noop

from integrations.clients.errors import Explanation, IntegrationError, OutcomeUnknownError, TransientError
from integrations.clients.wecom.builders import MessageError
from integrations.clients.wecom.client import WeComClient
from integrations.companies import links
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.console import find_domain_answer, note_domain_answer
from integrations.companies.diagnosis.findings import SHARED_EXPLANATIONS, ask_site_admin, fail, name_problem
from integrations.core.client_factory import wecom_client
from integrations.core.hooks import list_offered_landing_pages
from integrations.core.sentences import explain_errcode, translate_explanation
from integrations.core.validators import remove_invisible
from integrations.jobs import requests
from integrations.jobs.registry import JobFailedError, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import CheckRun, Corp, Job
from integrations.models.fields import Person


class WriteKind(TextChoices):
    """Kinds of values that are written into WeCom together."""

    SETTINGS = "settings", gettext_lazy("home page and trusted domain")
    MENU = "menu", gettext_lazy("menu of the app")


Values = dict[str, Any]

WRITE = "console.write"
NO_MENU, SYSTEM_BUSY = 46003, -1  # error codes of WeCom
# The checks to repeat after a write, by its kind.
CHECKS_AFTER = {WriteKind.SETTINGS.value: ("domain", "home_page"), WriteKind.MENU.value: ()}
_MENU_FIELDS = ("type", "name", "key", "url", "appid", "pagepath")
_MENU_ENTRIES_AT_MOST = 3


@transaction.atomic
def request_preview(*, corp: Corp, kind: WriteKind, by: Person, now: datetime) -> Job:
    """Return a job that prepares a change, or the unfinished job of this kind. Preparing writes nothing to WeCom.

    `changes` in its result: [{"name": …, "before": …, "after": …}], one for each value that differs from ours.
    """
    Corp.objects.select_for_update().get(pk=corp.pk)  # else this could replace a job that is just being confirmed
    newest = requests.find_newest_job(WRITE, _make_key(corp, kind))
    if newest is not None and newest.is_unfinished:
        return newest
    return _request_job(corp, kind, by, now)


@transaction.atomic
def confirm_write(*, preview: Job, by: Person, now: datetime) -> Job | None:
    """Request the write of a prepared change. Return its job; None if the preview is not the newest job (any more)."""
    kind = WriteKind(preview.payload["kind"])
    corp = Corp.objects.select_for_update().get(pk=preview.corp_id)  # type: ignore[misc]  # every write has a company
    if not awaits_confirmation(preview):
        return None
    return _request_job(corp, kind, by, now, changes=preview.result["changes"], requested_by=preview.asked_by)


def awaits_confirmation(preview: Job) -> bool:
    """Return whether the job prepared a change that can be confirmed."""
    return bool(preview.result.get("changes")) and requests.find_newest_job(WRITE, preview.key) == preview


def list_last_writes(corp: Corp) -> list[Job]:
    """Return the newest preview or write of each kind."""
    keys = [_make_key(corp, kind) for kind in WriteKind]
    jobs = Job.objects.filter(kind=WRITE, key__in=keys).order_by("requested_at", "pk")
    newest = {job.key: job for job in jobs}
    return [newest[key] for key in keys if key in newest]


def _make_key(corp: Corp, kind: WriteKind) -> str:
    return f"{corp.pk}:{kind.value}"


def _request_job(corp: Corp, kind: WriteKind, by: Person, now: datetime, **confirmed: Any) -> Job:
    subject, payload = f"{corp.name} · {kind.label}", {"kind": kind.value, **confirmed}
    return requests.request_job(
        WRITE, key=_make_key(corp, kind), subject=subject, payload=payload, corp=corp, by=by, now=now
    )


@job_kind(
    WRITE,
    label=gettext_lazy("Change in WeCom's console"),
    explain=lambda job: explain_write(job).what,
    seconds=180,
    keep=timedelta(days=365),
    see="integrations.change_corp",
    retry="integrations.change_corp",
    template="admin/integrations/corp/_write_link.html",
)
def carry_out_write(run: JobRun) -> Values:
    """Compare WeCom's values with ours, or write the confirmed ones. After a write, the affected checks run again."""
    corp = Corp.objects.select_related("site_address").get(jobs=run.job)
    kind, changes = run.job.payload["kind"], run.job.payload.get("changes")
    try:
        if changes is None:
            before, after = _fetch_values(wecom_client(corp), kind), find_wanted_values(corp, kind)
            names = {name for name in after if before[name] != after[name]}
            if "redirect_domain" in after:
                answer = find_domain_answer(corp, after["redirect_domain"])
                # Write a refused domain again even if WeCom has it: only this shows whether the owner is verified.
                if answer is not None and answer.errcode is not None:
                    names.add("redirect_domain")
            return {
                "changes": [
                    {"name": name, "before": before[name], "after": after[name]} for name in after if name in names
                ]
            }
        _write(corp, kind, changes, is_repeat=run.job.try_count > 1)
    except IntegrationError as error:
        _note_answer_on_domain(corp, changes or [], error, run)
        raise _describe_failure(error) from error
    except MessageError as error:  # WeCom would not accept one of our values, which the text names
        raise JobFailedError("wrong_setting", message=str(error)) from error
    with transaction.atomic():
        checks.request_checks(corp=corp, checks=CHECKS_AFTER[kind], now=run.clock())
        _note_answer_on_domain(corp, changes, None, run)
        run.lock_job()
    return {}


def _note_answer_on_domain(corp: Corp, changes: list[Values], error: IntegrationError | None, run: JobRun) -> None:
    """Store WeCom's answer for the diagnosis, because WeCom judges the trusted domain only when it is written."""
    if any(change["name"] == "redirect_domain" for change in changes):
        note_domain_answer(corp=corp, error=error, now=run.clock())


def _write(corp: Corp, kind: str, changes: list[Values], *, is_repeat: bool) -> None:
    """Write the confirmed values, unless an earlier try wrote them. Raises JobFailedError if a value changed since."""
    client, wanted = wecom_client(corp), find_wanted_values(corp, kind)
    before = {change["name"]: change["before"] for change in changes}
    after = {change["name"]: change["after"] for change in changes}
    # `get`, because the domain is no longer wanted if sign-in was switched off since.
    if any(wanted.get(name) != value for name, value in after.items()):
        raise JobFailedError("outdated")
    present = _fetch_values(client, kind)
    is_written = all(present[name] == value for name, value in after.items())
    if is_written and (is_repeat or before != after):  # equal values are written for the sake of WeCom's answer
        return
    if any(present[name] != value for name, value in before.items()):
        raise JobFailedError("unclear" if is_repeat else "changed")
    try:
        if kind == WriteKind.SETTINGS:
            client.agent_set(**after)
        else:
            client.menu_create([(entry["name"], entry["url"]) for entry in after["menu"]])
    except (TransientError, OutcomeUnknownError) as error:
        if error.code not in {None, SYSTEM_BUSY}:
            raise  # WeCom gave the reason
        # The answer was lost, so read WeCom's values instead of writing again.
        try:
            present = _fetch_values(client, kind)
        except IntegrationError as unread:
            raise _describe_failure(unread, problem="unclear") from unread
        if any(present[name] != value for name, value in after.items()):
            raise JobFailedError("unclear") from error


# --- Wanted and present values ----------------------------------------------------------------------------------------


def find_wanted_values(corp: Corp, kind: str) -> Values:
    """Return the values that WeCom should have, derived from the corp's site address.

    Without sign-in the trusted domain is left out: nobody needs it, and WeCom refuses one whose owner is not proven.
    """
    if kind == WriteKind.MENU:
        # The pages registered by higher apps, in the product's language, because all employees see the same menu.
        pages = [page for page in list_offered_landing_pages() if page.in_menu][:_MENU_ENTRIES_AT_MOST]
        with translation.override(settings.LANGUAGE_CODE):
            entries = [(str(page.label), links.build_deep_link(corp, page.path)) for page in pages]
        return {"menu": [{"type": "view", "name": name, "url": url} for name, url in entries]}
    home_page = {"home_url": links.build_home_page_link(corp)}
    return {**home_page, "redirect_domain": links.find_trusted_domain(corp)} if corp.sign_in_enabled else home_page


def _fetch_values(client: WeComClient, kind: str) -> Values:
    if kind == WriteKind.SETTINGS:
        agent = client.agent_get()
        return {
            "home_url": remove_invisible(agent.home_url),
            "redirect_domain": remove_invisible(agent.redirect_domain),
        }
    try:
        menu = client.menu_get()
    except IntegrationError as error:
        if error.code != NO_MENU:
            raise
        return {"menu": []}
    return {"menu": [_drop_empty_fields(entry) for entry in menu["button"]]}


def _drop_empty_fields(entry: Values) -> Values:
    """Return a menu entry as menu/create would take it: menu/get adds empty fields."""
    fields = {name: remove_invisible(str(entry[name])) for name in _MENU_FIELDS if entry.get(name)}
    below = entry.get("sub_button")
    listed = below if isinstance(below, list) else []
    children = [_drop_empty_fields(child) for child in listed if isinstance(child, dict)]
    return {**fields, "sub_button": children} if children else fields


# --- Failures ---------------------------------------------------------------------------------------------------------


def _describe_failure(error: IntegrationError, problem: str = "") -> JobFailedError:
    found = fail(error, problem or name_problem(error), CheckRun.Status.WRONG, heals=False)
    facts = {"errcode": found.errcode, "hint": found.hint, "caller_ip": found.caller_ip, "message": found.detail}
    return JobFailedError(found.problem, **facts)


_AGAIN = gettext_noop("Look at the preview again, then confirm it.")
_EXPLANATIONS = {
    **{name: SHARED_EXPLANATIONS[name] for name in ("unreachable", "wrong_setting", "not_wecom")},
    "changed": ask_site_admin(
        gettext_noop("Somebody changed the settings in WeCom after the preview was made. Nothing was written."), _AGAIN
    ),
    "outdated": ask_site_admin(
        gettext_noop("The values of this site changed after the preview was made. Nothing was written."), _AGAIN
    ),
    "unclear": ask_site_admin(
        gettext_noop("WeCom did not confirm the change: it may have been written, or not."),
        gettext_noop("Make a new preview: it shows what WeCom has now."),
    ),
}


def explain_write(job: Job) -> Explanation:
    """Explain why a change was not written, in the active language; empty for other failures, such as a dead worker."""
    if job.problem == "refused":
        return explain_errcode(job.facts["errcode"])
    return translate_explanation(_EXPLANATIONS.get(job.problem, Explanation("")), {})
