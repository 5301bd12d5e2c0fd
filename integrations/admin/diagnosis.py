"""The diagnosis section of a company's admin page, and the warnings of this app on the start page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from integrations.admin.base import CorpPages, State, show_status
from integrations.clients.wecom.builders import MessageError
from integrations.companies import services
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.findings import MESSAGE, Status
from integrations.core import hooks
from integrations.core.hooks import Attention, Line
from integrations.core.validators import remove_invisible
from integrations.jobs.registry import explain_failure, explain_wait
from integrations.jobs.requests import find_newest_job
from integrations.models import BiConnection, CheckRun, Corp, DataSource, SiteAddress, datasources
from integrations.models.fields import Unreadable, corp_condition

# The page says that beat is not running once a planned retry is overdue by this much.
BEAT_MISSING = timedelta(seconds=90)
SECTION = "diagnosis"
FOLDER = "admin/integrations/corp"
# Polling interval in milliseconds, while a check runs and while a retry is planned.
RUNNING_MS, PLANNED_MS = 1000, 3000


class DiagnosisPages(CorpPages):
    """Diagnosis of a corp. View permission shows results, change permission runs checks."""

    def diagnosis_view(self, request: HttpRequest, corp: Corp) -> JsonResponse:
        """Return the current state of the section, which the page polls."""
        return JsonResponse(self.describe_diagnosis(request, corp))

    def run_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        """Run the checks named in `check`, or all. The page then polls diagnosis_view."""
        names = request.POST.getlist("check")
        if not set(names) <= set(checks.ALL_BUT_MESSAGE):
            return HttpResponseBadRequest()
        checks.request_checks(corp=corp, checks=names or None, now=timezone.now())
        return self._answer(request, corp)

    def message_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        """Send a test message to the person with the typed account."""
        userid = remove_invisible(request.POST.get("userid", ""))
        try:
            checks.request_test_message(corp=corp, userid=userid, now=timezone.now())
        except MessageError:
            messages.error(request, _("Type the WeCom account of one person."))
            return self._answer(request, corp)
        self.log_change(request, corp, _("Test message to %(userid)s.") % {"userid": userid})
        return self._answer(request, corp)

    def export_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        now = timezone.localtime()
        response = HttpResponse(checks.export_text(corp, now=now), content_type="text/plain; charset=utf-8")
        name = f"guanwecom-diagnosis-{corp.pk}-{now:%Y%m%d-%H%M%S}.txt"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _answer(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        if "application/json" in request.headers.get("Accept", ""):
            notes = [str(note) for note in messages.get_messages(request)]
            return JsonResponse({**self.describe_diagnosis(request, corp), "notes": notes})
        return self._redirect_to_page(corp, SECTION)

    def describe_diagnosis(self, request: HttpRequest, corp: Corp) -> dict[str, Any]:
        """Return the HTML of each part, and the interval until the page asks again (0: never)."""
        now, can_act = timezone.now(), self.has_change_permission(request, corp)
        runs = checks.find_latest_runs(corp)
        job = find_newest_job(checks.DIAGNOSIS, corp.pk) if any(run.is_unfinished for run in runs.values()) else None
        wait = "" if job is None else explain_failure(job) or explain_wait(job)
        rows = [_render_row(corp, name, runs.get(name), wait, now, can_act=can_act) for name in checks.CHECKS]
        found = Counter(row["status"] for row in rows)
        counts = [(show_status(status, status.label), found[status]) for status in Status if found[status]]
        # Poll only while something runs or is planned.
        next_ms = PLANNED_MS if any(run.next_try_at is not None for run in runs.values()) else 0
        if any(run.is_unfinished for run in runs.values()):
            next_ms = RUNNING_MS
        return {
            "rows": rows,
            "next_ms": next_ms,
            "summary": render_to_string(f"{FOLDER}/_diagnosis_summary.html", {"corp": corp, "counts": counts}),
            "parts": render_results(corp, runs),
            "state": render_to_string(f"{FOLDER}/_state.html", describe_state(corp, runs)),
            "reasons": render_to_string(f"{FOLDER}/_reasons.html", {"reasons": list_reasons_against_enabling(corp)}),
        }


def list_reasons_against_enabling(corp: Corp) -> list[str]:
    """Return the reasons against enabling the corp; empty if it is enabled."""
    return [] if corp.is_enabled else services.find_reasons_against_enabling(corp, now=timezone.now())


def describe_state(corp: Corp, runs: dict[str, CheckRun]) -> dict[str, Any]:
    """Return the context of the corp's state: the last refusal of a real call, what was sent today, whether the current
    credentials are untested, and whether an essential check failed."""
    essential = [runs[name] for name in checks.list_essential_checks(corp) if name in runs]
    current = [run for run in essential if run.connection_version == corp.connection_version]
    tried = [run for run in current if run.status in {Status.OK, Status.WARNING, Status.WRONG}]
    # Without a network, nothing essential is tried: then the network is what failed.
    network = runs.get("network")
    if network is not None and checks.is_current(network, corp) and network.status == Status.WRONG and not tried:
        tried = current = [network]
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    sent_at, sent_count = hooks.calls().find_newest_success([corp.pk], today).get(corp.pk, (None, 0))
    return {
        "corp": corp,
        "refusal": checks.find_refusal(corp),
        "sent_at": sent_at,
        "is_just_sent": sent_at is not None and timezone.now() - sent_at < timedelta(minutes=1),
        "sent_count": f"{sent_count:,}",
        "is_untested": bool(essential) and not tried,
        "has_failed": any(run.status == Status.WRONG for run in current),
    }


def render_results(corp: Corp, runs: dict[str, CheckRun]) -> dict[str, str]:
    """Render the results shown beside the button “Test connection” and beside the verification files."""
    found = [runs[name] for name in ("network", "token") if name in runs and checks.is_current(runs[name], corp)]
    # Without a network no token is requested; a token proves that the network works.
    bad = [run for run in found if run.status == Status.WRONG and found[-1].status != Status.OK]
    shown = next((run for run in found if run.is_unfinished), next(iter(bad or found[-1:]), None))
    files = runs.get("verification_file")
    return {"token-result": _render_result(corp, shown), "files-result": _render_result(corp, files)}


def _render_result(corp: Corp, run: CheckRun | None) -> str:
    if run is None:
        return ""
    context = {"run": run, "state": show_status(run.status, run.get_status_display())}
    context["explanation"] = checks.explain_run(run)
    context["is_outdated"] = not run.is_unfinished and not checks.is_current(run, corp)
    return render_to_string(f"{FOLDER}/_run_result.html", context)


def _render_row(
    corp: Corp, name: str, run: CheckRun | None, wait: str, now: datetime, *, can_act: bool
) -> dict[str, Any]:
    check = checks.CHECKS[name]
    context: dict[str, Any] = {
        "corp": corp,
        "name": name,
        "label": checks.label_check(name),
        "purpose": _(check.purpose),
        "run": run,
        "can_act": can_act and name != MESSAGE,
        "state": show_status(Status.SKIPPED, Status.SKIPPED.label),
    }
    if run is not None:
        is_bad = run.status in {Status.WRONG, Status.WARNING, Status.SKIPPED}
        context |= {
            "state": show_status(run.status, run.get_status_display()),
            "is_one_line": run.status in {Status.OK, Status.SKIPPED},
            "explanation": checks.explain_run(run),
            "is_outdated": not run.is_unfinished and not checks.is_current(run, corp),
            "wait": wait,
            "is_overdue": run.next_try_at is not None and now - run.next_try_at >= BEAT_MISSING,
            "to_copy": run.facts.get(check.copied_fact, "") if check.copied_fact and is_bad else "",
            "help_links": check.help_links if is_bad else (),
            "technical": checks.write_technical_line(run) if is_bad or (run.detail and not run.is_unfinished) else "",
        }
    html = render_to_string(f"{FOLDER}/_diagnosis_check.html", context)
    return {"name": name, "html": html, "status": run.status if run is not None else Status.SKIPPED}


def list_connection_lines(request: HttpRequest, corps: Sequence[Corp]) -> dict[int, list[Line]]:
    """Map keys of corps to lines: the last refusal of a real call, else status, last diagnosis and token. The queries
    are shared with list_connection_attentions for the same corps."""
    if not may_see_corps(request):
        return {}
    checks.fetch_states(corps)
    lines: dict[int, list[Line]] = {}
    corp: Any  # with the attributes that fetch_states sets
    for corp in corps:
        if corp.refusal is not None:
            page = f"{_link_to_corp(corp)}#{corp.refusal.anchor}"
            lines[corp.pk] = [Line(_("Status"), corp.refusal.line, "bad", page)]
            continue
        token = next((run for run in corp.check_runs.all() if run.check_name == "token"), None)
        state = State.FINE if corp.is_enabled else State.DISABLED
        found = [Line(_("Status"), str(state.label), state.tone)]
        found.append(Line(_("Last diagnosis"), corp.health.words, corp.health.tone, _link_to_diagnosis(corp)))
        if corp.health.checked_at is not None:
            found.append(Line(_("Diagnosed at"), f"{timezone.localtime(corp.health.checked_at):%Y-%m-%d %H:%M}"))
        if token is not None and token.connection_version == corp.connection_version:
            tone = {Status.OK: "good", Status.WRONG: "bad"}.get(Status(token.status), "quiet")
            found.append(Line(_("Access token"), token.get_status_display(), tone, _link_to_diagnosis(corp)))
        lines[corp.pk] = found
    return lines


def list_connection_attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Warn of corps that do not work or are not set up, of unreadable secrets, and of unsuitable site addresses."""
    if not may_see_corps(request):
        return []
    checks.fetch_states(corps)
    attentions: list[Attention] = []
    corp: Any  # with the attributes that fetch_states sets
    for corp in corps:
        tone, page, words = corp.health.tone, _link_to_diagnosis(corp), {"corp": corp, "words": corp.health.words}
        if corp.refusal is not None:
            attentions.append(Attention(corp.refusal.sentence, f"{_link_to_corp(corp)}#{corp.refusal.anchor}"))
        elif tone == "bad":
            attentions.append(Attention(_("“%(corp)s”: %(words)s in the last diagnosis.") % words, page))
        elif not corp.is_enabled and corp.first_enabled_at is None:
            sentence = _("“%(corp)s” is not enabled yet: go on with its steps.") % words
            attentions.append(Attention(sentence, _link_to_corp(corp), "warn"))
        elif tone == "warn":
            attentions.append(Attention(_("“%(corp)s”: %(words)s.") % words, page, "warn"))
    with_secrets: list[Model] = list(Corp.objects.filter(pk__in=[corp.pk for corp in corps]))
    if request.user.has_perm("integrations.view_biconnection"):
        with_secrets += BiConnection.objects.all()
    if request.user.has_perm("integrations.view_datasource"):
        with_secrets += DataSource.objects.visible_to(request.user)
    return [*warn_of_unreadable_secrets(with_secrets), *attentions, *_warn_of_site_address(request, corps)]


def warn_of_unreadable_secrets(rows: Iterable[Model]) -> list[Attention]:
    """Warn of rows with secrets that no configured key decrypts, naming the columns. The rows must be loaded with their
    encrypted columns."""
    found = []
    for row in rows:
        values = [(column, row.__dict__.get(column.attname)) for column in row._meta.concrete_fields]
        if names := [str(column.verbose_name) for column, value in values if isinstance(value, Unreadable)]:
            words = {"row": row, "fields": _(", ").join(names)}
            sentence = _("“%(row)s”: %(fields)s cannot be read with the present keys: enter it again.") % words
            page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
            found.append(Attention(sentence, page))
    return found


def list_source_attentions(request: HttpRequest, _corps: Sequence[Corp]) -> list[Attention]:
    """Warn of database accounts that may do more than read tables, if the person may change data sources."""
    if not request.user.has_perm("integrations.change_datasource"):
        return []
    found = DataSource.objects.visible_to(request.user).exclude(account_powers="")
    sentence = _("“%(source)s”: the account of this database may do more than read tables (%(powers)s).")
    return [
        Attention(
            sentence % {"source": source.name, "powers": datasources.describe_privileges(source.account_powers)},
            reverse("admin:integrations_datasource_change", args=[source.pk]),
            "warn",
        )
        for source in found.only("name", "account_powers").order_by("name")
    ]


def may_see_corps(request: HttpRequest) -> bool:
    return request.user.has_perm("integrations.view_corp") or request.user.has_perm("integrations.change_corp")


def _warn_of_site_address(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Warn of local or unsafe site addresses, if the person may change them and not all corps use the sandbox."""
    may_change = request.user.has_perm("integrations.change_siteaddress") and not corp_condition(request.user)
    if not may_change or all(corp.is_sandbox for corp in corps):
        return []
    addresses = list(SiteAddress.objects.all())
    default = next((address for address in addresses if address.is_default), None)
    if default is not None and default.is_local:
        sentence = _("The site address is still %(url)s, which nobody reaches from another machine.")
        page = reverse("admin:integrations_siteaddress_change", args=[default.pk])
        return [Attention(sentence % {"url": default.url}, page, "warn")]
    is_https = bool(addresses) and all(address.url.startswith("https://") for address in addresses)
    if is_https and settings.ENVIRONMENT == "production" and not settings.HOST_COOKIES:
        sentence = _("Every site address is https: set HOST_COOKIES=true, then no sibling domain can plant cookies.")
        return [Attention(sentence, reverse("admin:integrations_siteaddress_changelist"), "warn")]
    return []


def _link_to_corp(corp: Corp) -> str:
    return reverse("admin:integrations_corp_change", args=[corp.pk])


def _link_to_diagnosis(corp: Corp) -> str:
    return f"{_link_to_corp(corp)}#diagnosis"
