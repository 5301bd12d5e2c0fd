"""Saves, enables and disables companies; changes site addresses."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from integrations.clients.errors import TransientError
from integrations.companies import links
from integrations.companies.diagnosis import results
from integrations.core import hooks, http
from integrations.core.background import database_clock
from integrations.core.client_factory import token_store
from integrations.models import Corp, SiteAddress
from integrations.models.scoping import corp_condition

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from integrations.models.scoping import Person

# What the checks of a diagnosis depend on.
CONNECTION_FIELDS = frozenset(
    {"corpid", "agentid", "secret", "contacts_secret", "api_base_url", "proxy_url", "ca_bundle"}
)


class CorpNotReady(Exception):
    """The corp cannot be enabled. `reasons`: whole sentences for the administrator, in the active language."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = reasons


def save_corp(*, corp: Corp, changed_fields: Collection[str]) -> bool:
    """Store a new corp, or the changed fields of one. Returns whether its connection has to be tested (again).

    The first corp of all lets administrators use their rights after a sign-in with WeCom; further ones do not.
    A changed connection drops the token that all processes share, and a pause after a wrong Secret. Raises ValueError
    for another CorpId after the first enabling: it would point every account at other people.
    """
    if corp._state.adding:
        corp.admin_rights_enabled |= not Corp.objects.exists()
        corp.save()
        return True
    if corp.first_enabled_at is not None and "corpid" in changed_fields:
        raise ValueError("the CorpId of a corp that was enabled once cannot change")
    is_connection_changed = not CONNECTION_FIELDS.isdisjoint(changed_fields)
    if not is_connection_changed:
        corp.save(update_fields=list(changed_fields))
        return False
    before = Corp.objects.values_list("corpid", "agentid").get(pk=corp.pk)
    corp.connection_version = F("connection_version") + 1  # two savers must not lose a step
    corp.save(update_fields=[*changed_fields, "connection_version"])
    corp.refresh_from_db(fields=["connection_version"])
    # None: the contacts assistant, which has no agent.
    for application in {before, (before[0], None), (corp.corpid, corp.agentid), (corp.corpid, None)}:
        transaction.on_commit(partial(_forget_token, *application))
    # The database's clock, which the next attempt uses, too.
    transaction.on_commit(lambda: hooks.connection_mended(corp.pk, database_clock()()))
    return True


def _forget_token(corpid: str, agentid: int | None) -> None:
    with suppress(TransientError):  # without Valkey nothing is remembered that could be wrong
        token_store().forget(corpid, agentid)


def reasons_against_enabling(corp: Corp, *, now: datetime) -> list[str]:
    """Why `corp` cannot be enabled yet, as sentences; empty when it can."""
    return [*results.find_reasons_against_enabling(corp, now=now), *_local_address(corp)]


def _local_address(corp: Corp) -> list[str]:
    address = links.site_address_for(corp)
    is_trial = corp.is_sandbox and settings.ENVIRONMENT != "production"
    if not address.is_local or is_trial:
        return []
    return [
        _("The site address is still %(url)s, which only this machine reaches. Enter your real one first.")
        % {"url": address.url}
    ]


def enable_corp(*, corp: Corp, by: Person, now: datetime, seen_version: int | None = None) -> None:
    """Let the corp's people sign in and receive. Raises CorpNotReady. Safe to repeat.

    `seen_version`: the corp's connection_version when `by` looked at it; a connection changed since is not enabled.
    Until then others than superusers may have chosen which app says who somebody is. Where no superuser vouches for it
    by enabling it first, its sign-in carries no rights that reach beyond it.
    """
    reasons = reasons_against_enabling(corp, now=now)
    if reasons:
        raise CorpNotReady(reasons)
    if seen_version is not None and seen_version != corp.connection_version:
        raise CorpNotReady([_("Somebody changed the connection in the meantime. Test it again.")])
    # What the reasons were about. The domain and the home page count with sign-in, and follow the other two.
    seen = ("connection_version", "sign_in_enabled", "site_address_id", "domain_id")
    unchanged = Corp.objects.filter(pk=corp.pk, **{name: getattr(corp, name) for name in seen})
    with transaction.atomic():
        # Writes the same value to lock the row, on every database, if all of this still holds.
        if not unchanged.update(connection_version=F("connection_version")):
            raise CorpNotReady([_("Somebody changed the connection in the meantime. Test it again.")])
        corp.refresh_from_db(fields=["is_enabled", "first_enabled_at", "admin_rights_enabled"])
        if corp.first_enabled_at is None:
            corp.admin_rights_enabled &= bool(getattr(by, "is_superuser", False))
        corp.is_enabled, corp.first_enabled_at = True, corp.first_enabled_at or now
        corp.save(update_fields=["is_enabled", "first_enabled_at", "admin_rights_enabled"])


def disable_corp(*, corp: Corp) -> None:
    """Stop sign-in and pushes of the corp. Deliveries under way are settled; what is pending waits."""
    corp.is_enabled = False
    corp.save(update_fields=["is_enabled"])


def save_site_address(*, address: SiteAddress) -> None:
    """Store an address. It is admitted at once, here and in every other process."""
    address.save()
    http.forget()


def is_in_service(address: SiteAddress) -> bool:
    """Whether WeCom may send codes there: a corp that was enabled once has its links at `address`.

    Also while it is disabled: it could be switched off for the change, and on again.
    """
    return Corp.objects.at(address).ever_enabled().exists()


def reason_against_changing(*, address: SiteAddress, person: Person) -> str:
    """Why `person` may not change `address`, and who can; empty where they may (docs/decisions/0008).

    Each saved address is admitted at once as host and as origin of forms, so it is nothing for those who manage some
    companies only.
    """
    if getattr(person, "is_superuser", False):
        return ""
    if is_in_service(address):
        return _(
            "A company that has been enabled uses this address: WeCom sends the codes there that say who somebody is. "
            "A superuser can change it."
        )
    if corp_condition(person):
        return _("This site answers under each address that is saved: who manages all companies can change it.")
    return ""


@dataclass(frozen=True)
class LinkChange:
    """One corp's values for WeCom's console before and after a change of the site address."""

    corp: Corp
    domain_before: str
    domain_after: str
    home_page_before: str
    home_page_after: str


def link_changes(*, address: SiteAddress, url: str) -> list[LinkChange]:
    """What saving `url` for `address` would change in WeCom's console, for each corp concerned."""
    new = SiteAddress(url=url)
    changes = []
    for corp in Corp.objects.at(address):
        corp.site_address = address
        domain, home_page = links.trusted_domain(corp), links.home_page_link(corp)
        corp.site_address = new
        changes.append(LinkChange(corp, domain, links.trusted_domain(corp), home_page, links.home_page_link(corp)))
    return changes
