"""Values for WeCom's console, derived from the site address, and their writing to WeCom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from integrations.clients.errors import Explanation, IntegrationError, OutcomeUnknownError, TransientError
from integrations.clients.wecom.builders import MessageError
from integrations.clients.wecom.client import AgentChanges, MenuEntry, WeComClient
from integrations.companies import links
from integrations.companies.diagnosis import runner
from integrations.companies.diagnosis.console import is_domain_refused, note_domain_answer
from integrations.companies.diagnosis.findings import SHARED_EXPLANATIONS, ask_site_admin, fail, name_problem
from integrations.core.client_factory import wecom_client
from integrations.core.hooks import offered_landing_pages
from integrations.core.sentences import explain_errcode, translate_explanation
from integrations.core.validators import without_invisible
from integrations.jobs import requests
from integrations.jobs.registry import job_kind
from integrations.jobs.runner import JobRun
from integrations.models import CheckRun, ConsoleWrite, Corp
from integrations.models.fields import Person


@dataclass(frozen=True, slots=True)
class ConsoleValue:
    """A value to copy. `id`: of its field in the page. `where`: its place in WeCom's console."""

    id: str
    label: str
    value: str
    where: str
    note: str = ""


def domains(corp: Corp) -> list[ConsoleValue]:
    """Return the two domains, which must be equal and have no scheme."""
    domain = links.trusted_domain(corp)
    plain = _("Without http:// or https://, which WeCom's console refuses here.")
    unread = _("WeCom lets no program read it: look there whether it is set.")
    return [
        ConsoleValue(
            "value-domain",
            _("Trusted domain"),
            domain,
            _in_app(_("Web authorisation and JS-SDK → Set the trusted domain")),
            plain,
        ),
        ConsoleValue(
            "value-callback",
            _("Callback domain"),
            domain,
            _in_app(_("WeCom authorised sign-in → Web page → Set the callback domain")),
            " ".join([plain, unread]),
        ),
    ]


def home_page(corp: Corp) -> ConsoleValue:
    """Return the app's home page, by the corp's setting for sign-in."""
    return ConsoleValue(
        "value-home-page",
        _("App home page"),
        links.home_page_link(corp),
        _in_app(_("App home page → Web page")),
        _("Copy it whole: its parameters sign people in.") if corp.sign_in_enabled else "",
    )


def plain_login(corp: Corp) -> ConsoleValue:
    """Return the other choice for the home page: the login page, where people type their password."""
    return ConsoleValue(
        "value-login", _("Plain login address"), links.plain_login_url(corp), _in_app(_("App home page → Web page"))
    )


def _in_app(place: str) -> str:
    return " → ".join([_("App management → the app"), place])


# --- Writing an app's settings into WeCom: home page and trusted domain, or the menu ----------------------------------

Kind = ConsoleWrite.Kind
Status = ConsoleWrite.Status
Problem = ConsoleWrite.Problem
Values = dict[str, Any]

WRITE = "console.write"
KEPT_WRITES = 20
NO_MENU = 46003
SYSTEM_BUSY = -1
# The checks to repeat after a write.
CHECKS_AFTER = {Kind.SETTINGS.value: ("domain", "home_page"), Kind.MENU.value: ()}
_MENU_FIELDS = ("type", "name", "key", "url", "appid", "pagepath")
_MENU_ENTRIES_AT_MOST = 3


# --- Requests of the administrator ------------------------------------------------------------------------------------


@transaction.atomic
def request_write(*, corp: Corp, kind: Kind, by: Person, now: datetime) -> ConsoleWrite:
    """Return a change to prepare in the background, or the one being prepared. This writes nothing to WeCom."""
    writes = ConsoleWrite.objects.filter(corp=corp)
    prepared = writes.filter(kind=kind, status=Status.WAITING).first()
    if prepared is not None and (job := requests.newest_job(WRITE, prepared.pk)) and job.is_unfinished:
        return prepared
    write = ConsoleWrite.objects.create(corp=corp, kind=kind, requested_by=str(by)[:255], requested_at=now)
    # By key: "all but these" would include a change that somebody else requests at this moment.
    writes.filter(pk__in=list(writes.values_list("pk", flat=True)[KEPT_WRITES:])).delete()
    _request_job(write, by, now)
    return write


@transaction.atomic
def confirm_write(*, write: ConsoleWrite, by: Person, now: datetime) -> bool:
    """Have a prepared change written. Return False if it does not wait for confirmation (any more)."""
    planned = ConsoleWrite.objects.filter(pk=write.pk, status=Status.PLANNED)
    if not planned.update(status=Status.CONFIRMED, confirmed_by=str(by)[:255], confirmed_at=now):
        return False
    _request_job(write, by, now)
    return True


def _request_job(write: ConsoleWrite, by: Person, now: datetime) -> None:
    subject = f"{write.corp.name} · {write.get_kind_display()}"
    requests.request_job(WRITE, key=write.pk, subject=subject, corp=write.corp, by=by, now=now)


# --- Background work --------------------------------------------------------------------------------------------------


@job_kind(
    WRITE,
    label=gettext_lazy("Change in WeCom's console"),
    explain=lambda _job: "",  # the change itself shows WeCom's refusal
    seconds=180,
    see="integrations.change_corp",
    retry="integrations.change_corp",
    template="admin/integrations/corp/_write_link.html",
)
def carry_out_write(run: JobRun) -> dict[str, Any]:
    """Read WeCom's values, or write the confirmed ones. After a write, the affected checks run again."""
    write = ConsoleWrite.objects.filter(pk=int(run.job.key or 0)).first()
    if write is not None and write.status == Status.WAITING:
        _settle(run, write, _plan)
    elif write is not None and write.status in {Status.CONFIRMED, Status.WRITING}:
        _settle(run, write, _write)
    return {}


def _settle(run: JobRun, write: ConsoleWrite, step: Callable[[ConsoleWrite, Corp], Values]) -> None:
    """Execute one step without a transaction around its calls, then save the result."""
    refusal: IntegrationError | None = None
    try:
        values = step(write, Corp.objects.select_related("site_address").get(pk=write.corp_id))
    except IntegrationError as error:
        refusal, values = error, _failure(error)
    except MessageError as error:  # WeCom would not accept one of our values, which the text names
        values = {"status": Status.FAILED, "problem": Problem.WRONG_SETTING, "message": str(error)}
    now, was_written = run.clock(), write.status == Status.WRITING
    values["planned_at" if values["status"] == Status.PLANNED else "finished_at"] = now
    for name, value in values.items():
        setattr(write, name, value)
    with transaction.atomic():
        write.save(update_fields=list(values))
        # WeCom judges the trusted domain only when it is written, so the diagnosis needs this answer.
        names_domain = any(change["name"] == "redirect_domain" for change in write.changes)
        if names_domain and (write.status == Status.DONE or refusal is not None):
            note_domain_answer(corp=write.corp, error=refusal, now=now)
        if was_written and write.status == Status.DONE:
            runner.request_checks(corp=write.corp, checks=CHECKS_AFTER[write.kind], now=now)
        run.hold()


def _plan(write: ConsoleWrite, corp: Corp) -> Values:
    before, after = _present(wecom_client(corp), write.kind), wanted(corp, write.kind)
    names = {name for name in after if before[name] != after[name]}
    # Write it again even if WeCom has it: only the answer to a write shows whether the owner is verified.
    if "redirect_domain" in after and is_domain_refused(corp):
        names.add("redirect_domain")
    changes = [{"name": name, "before": before[name], "after": after[name]} for name in after if name in names]
    return {"status": Status.PLANNED if changes else Status.DONE, "changes": changes}


def _write(write: ConsoleWrite, corp: Corp) -> Values:
    """Write the confirmed values, unless something changed since or a worker that died has already written them."""
    is_repeat = write.status == Status.WRITING
    ConsoleWrite.objects.filter(pk=write.pk).update(status=Status.WRITING)
    write.status = Status.WRITING
    client = wecom_client(corp)
    before = {change["name"]: change["before"] for change in write.changes}
    after = {change["name"]: change["after"] for change in write.changes}
    still_wanted = wanted(corp, write.kind)
    # `get`, because the domain is no longer wanted if sign-in was switched off since.
    if any(still_wanted.get(name) != value for name, value in after.items()):
        return {"status": Status.FAILED, "problem": Problem.OUTDATED}
    present = _present(client, write.kind)
    if is_repeat and all(present[name] == value for name, value in after.items()):
        return {"status": Status.DONE}
    if any(present[name] != value for name, value in before.items()):
        return {"status": Status.FAILED, "problem": Problem.UNCLEAR if is_repeat else Problem.CHANGED}
    try:
        if write.kind == Kind.SETTINGS:
            client.agent_set(AgentChanges(**after))
        else:
            client.menu_create([MenuEntry(entry["name"], entry["url"]) for entry in after["menu"]])
    except (TransientError, OutcomeUnknownError) as error:
        if error.code not in {None, SYSTEM_BUSY}:
            raise  # WeCom gave the reason
        # The answer was lost, so read WeCom's values instead of writing again.
        try:
            present = _present(client, write.kind)
        except IntegrationError as unread:
            return {**_failure(unread), "problem": Problem.UNCLEAR}
        if any(present[name] != value for name, value in after.items()):
            return {"status": Status.FAILED, "problem": Problem.UNCLEAR}
    return {"status": Status.DONE}


# --- Wanted and present values ----------------------------------------------------------------------------------------


def wanted(corp: Corp, kind: str) -> Values:
    """Return the values that WeCom should have, derived from the corp's site address.

    Without sign-in the trusted domain is left out: nobody needs it, and WeCom refuses one whose owner is not proven.
    """
    if kind == Kind.MENU:
        # The pages registered by higher apps, in the product's language, because all employees see the same menu.
        pages = [page for page in offered_landing_pages() if page.in_menu][:_MENU_ENTRIES_AT_MOST]
        with translation.override(settings.LANGUAGE_CODE):
            return {
                "menu": [
                    {"type": "view", "name": str(page.label), "url": links.deep_link(corp, page.path)} for page in pages
                ]
            }
    home_page = {"home_url": links.home_page_link(corp)}
    return {**home_page, "redirect_domain": links.trusted_domain(corp)} if corp.sign_in_enabled else home_page


def _present(client: WeComClient, kind: str) -> Values:
    if kind == Kind.SETTINGS:
        agent = client.agent_get()
        return {
            "home_url": without_invisible(agent.home_url),
            "redirect_domain": without_invisible(agent.redirect_domain),
        }
    try:
        menu = client.menu_get()
    except IntegrationError as error:
        if error.code != NO_MENU:
            raise
        return {"menu": []}
    return {"menu": [_tidied(entry) for entry in menu["button"]]}


def _tidied(entry: Values) -> Values:
    """Return a menu entry as menu/create would take it: menu/get adds empty fields."""
    fields = {name: without_invisible(str(entry[name])) for name in _MENU_FIELDS if entry.get(name)}
    below = entry.get("sub_button")
    children = [_tidied(child) for child in below if isinstance(child, dict)] if isinstance(below, list) else []
    return {**fields, "sub_button": children} if children else fields


# --- Failures ---------------------------------------------------------------------------------------------------------


def _failure(error: IntegrationError) -> Values:
    found = fail(error, name_problem(error), CheckRun.Status.WRONG, heals=False)
    kept = {"problem": found.problem, "errcode": found.errcode, "hint": found.hint, "caller_ip": found.caller_ip}
    return {**kept, "status": Status.FAILED, "message": found.detail}


_AGAIN = gettext_noop("Look at the preview again, then confirm it.")
_EXPLANATIONS = {
    **SHARED_EXPLANATIONS,
    Problem.CHANGED.value: ask_site_admin(
        gettext_noop("Somebody changed the settings in WeCom after the preview was made. Nothing was written."), _AGAIN
    ),
    Problem.OUTDATED.value: ask_site_admin(
        gettext_noop("The values of this site changed after the preview was made. Nothing was written."), _AGAIN
    ),
    Problem.UNCLEAR.value: ask_site_admin(
        gettext_noop("WeCom did not confirm the change: it may have been written, or not."),
        gettext_noop("Make a new preview: it shows what WeCom has now."),
    ),
}


def explain_write(write: ConsoleWrite) -> Explanation:
    """Explain a failed change in the active language."""
    if write.errcode is not None and write.problem == Problem.REFUSED:
        return explain_errcode(write.errcode)
    return translate_explanation(_EXPLANATIONS[write.problem], {})
