"""A company's connection on the admin index, and what needs attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Model, Prefetch, prefetch_related_objects
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from integrations.companies.diagnosis import results
from integrations.core.hooks import Attention, Line
from integrations.models import BiConnection, CheckRun, Corp, DataSource, SiteAddress, datasource_messages
from integrations.models.fields import unreadable_names
from integrations.models.scoping import corp_condition

if TYPE_CHECKING:
    from django.http import HttpRequest

TOKEN_CHECK = "token"  # noqa: S105  # the name of a check, integrations.companies.diagnosis.checks
TONES = {CheckRun.Status.OK: "good", CheckRun.Status.WARNING: "warn", CheckRun.Status.WRONG: "bad"}


def connection_lines(request: HttpRequest, corps: Sequence[Corp]) -> dict[int, list[Line]]:
    """Return what real calls met; else enabled, last diagnosis, token. Three queries, together with
    connection_attentions of the same corps.
    """
    if not may_see_corps(request):
        return {}
    refusals = _fetch_states(corps)
    return {corp.pk: _lines(corp, refusals[corp.pk]) for corp in corps}


def connection_attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Corps that do not work, or do not work yet; and the address that nobody but this machine reaches."""
    if not may_see_corps(request):
        return []
    refusals = _fetch_states(corps)
    present = [item for item in (_attention(corp, refusals[corp.pk]) for corp in corps) if item is not None]
    return [*about_unreadable(_with_secrets(request, corps)), *present, *_about_the_site_address(request, corps)]


def about_unreadable(rows: Iterable[Model]) -> list[Attention]:
    """Rows with secrets that no present key opens; each of them with its encrypted columns."""
    found = []
    for row in rows:
        if names := unreadable_names(row):
            words = {"row": row, "fields": _(", ").join(names)}
            sentence = _("“%(row)s”: %(fields)s cannot be read with the present keys: enter it again.") % words
            page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
            found.append(Attention(sentence, page))
    return found


def _with_secrets(request: HttpRequest, corps: Sequence[Corp]) -> list[Model]:
    """Rows whose secrets people enter, as far as the person may see them. Three queries at most."""
    found: list[Model] = list(Corp.objects.filter(pk__in=[corp.pk for corp in corps]))
    if request.user.has_perm("integrations.view_biconnection"):
        found += BiConnection.objects.all()
    if request.user.has_perm("integrations.view_datasource"):
        found += DataSource.objects.visible_to(request.user)
    return found


def source_attentions(request: HttpRequest, _corps: Sequence[Corp]) -> list[Attention]:
    """Databases whose account may do more than read tables, to whoever may change the source."""
    if not request.user.has_perm("integrations.change_datasource"):
        return []
    found = DataSource.objects.visible_to(request.user).with_too_much_power()
    sentence = _("“%(source)s”: the account of this database may do more than read tables (%(powers)s).")
    return [
        Attention(
            sentence % {"source": source.name, "powers": datasource_messages.powers(source.account_powers)},
            reverse("admin:integrations_datasource_change", args=[source.pk]),
            "warn",
        )
        for source in found.only("name", "account_powers").order_by("name")
    ]


def may_see_corps(request: HttpRequest) -> bool:
    return request.user.has_perm("integrations.view_corp") or request.user.has_perm("integrations.change_corp")


def _fetch_states(corps: Sequence[Corp]) -> dict[int, results.Refusal | None]:
    """Fetch what real calls met, by the corp's key; it and the newest run of each check are kept with each corp, and
    fetched once.
    """
    if not all(hasattr(corp, "refusal") for corp in corps):
        refusals = results.refusals(corps)
        for corp in corps:
            corp.refusal = refusals.get(corp.pk)  # type: ignore[attr-defined]  # as said above
    newest = CheckRun.objects.newest_of(corps)
    prefetch_related_objects(corps, Prefetch("check_runs", newest, to_attr="newest_runs"))
    return {corp.pk: corp.refusal for corp in corps}  # type: ignore[attr-defined]  # as said above


def _newest_runs(corp: Corp) -> list[CheckRun]:
    runs: list[CheckRun] = corp.newest_runs  # type: ignore[attr-defined]  # set by _fetch_states
    return runs


def _health(corp: Corp) -> results.Health:
    return results.health_of(_newest_runs(corp), version=corp.connection_version)


def _token_run(corp: Corp) -> CheckRun | None:
    return next((run for run in _newest_runs(corp) if run.check_name == TOKEN_CHECK), None)


def _lines(corp: Corp, refusal: results.Refusal | None) -> list[Line]:
    if refusal is not None:
        return [Line(_("Status"), refusal.line, "bad", f"{_page_of(corp)}#{refusal.anchor}")]
    health, token = _health(corp), _token_run(corp)
    state = Line(_("Status"), _("enabled"), "good") if corp.is_enabled else Line(_("Status"), _("disabled"), "quiet")
    lines = [state, Line(_("Last diagnosis"), health.words, health.tone, _diagnosis_of(corp))]
    if health.checked_at is not None:
        when = timezone.localtime(health.checked_at)
        lines.append(Line(_("Diagnosed at"), f"{when:%Y-%m-%d %H:%M}"))
    if token is not None and token.connection_version == corp.connection_version:
        status = CheckRun.Status(token.status)
        lines.append(Line(_("Access token"), str(status.label), TONES.get(status, "quiet"), _diagnosis_of(corp)))
    return lines


def _attention(corp: Corp, refusal: results.Refusal | None) -> Attention | None:
    health = _health(corp)
    page, words = _diagnosis_of(corp), {"corp": corp, "words": health.words}
    if refusal is not None:
        return Attention(refusal.sentence, f"{_page_of(corp)}#{refusal.anchor}")
    if health.tone == "bad":
        return Attention(_("“%(corp)s”: %(words)s in the last diagnosis.") % words, page)
    if not corp.is_enabled and corp.first_enabled_at is None:
        return Attention(_("“%(corp)s” is not enabled yet: go on with its steps.") % words, _page_of(corp), "warn")
    if health.tone == "warn":
        return Attention(_("“%(corp)s”: %(words)s.") % words, page, "warn")
    return None


def _about_the_site_address(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Only to somebody who may change it, and not while every corp is the sandbox's."""
    may_change = request.user.has_perm("integrations.change_siteaddress") and not corp_condition(request.user)
    if not may_change or all(corp.is_sandbox for corp in corps):
        return []
    addresses = list(SiteAddress.objects.all())
    default = next((address for address in addresses if address.is_default), None)
    if default is not None and default.is_local:
        sentence = _("The site address is still %(url)s, which nobody reaches from another machine.")
        page = reverse("admin:integrations_siteaddress_change", args=[default.pk])
        return [Attention(sentence % {"url": default.url}, page, "warn")]
    if addresses and all(address.url.startswith("https://") for address in addresses) and _lacks_host_cookies():
        sentence = _("Every site address is https: set HOST_COOKIES=true, then no sibling domain can plant cookies.")
        return [Attention(sentence, reverse("admin:integrations_siteaddress_changelist"), "warn")]
    return []


def _lacks_host_cookies() -> bool:
    return settings.ENVIRONMENT == "production" and not settings.HOST_COOKIES


def _page_of(corp: Corp) -> str:
    return reverse("admin:integrations_corp_change", args=[corp.pk])


def _diagnosis_of(corp: Corp) -> str:
    return f"{_page_of(corp)}#diagnosis"
