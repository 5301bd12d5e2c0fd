"""The six steps from an empty product to the first message, shown on the overview until all are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Exists, Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.directory.hooks import SYNC
from accounts.models import WeComAccount
from accounts.users.scopes import sees_all
from integrations.models import Card, Corp, SiteAddress
from notifications.models import Delivery, Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest


@dataclass(frozen=True)
class Step:
    """`purpose`: what the step is for. `state`: what there is, or what is still missing. `label` and `url`: its button;
    without them somebody else takes the step, and `state` says who."""

    name: str
    purpose: str
    state: str
    is_done: bool = False
    label: str = ""
    url: str = ""


@dataclass(frozen=True)
class _Facts:
    """What there is, of what the person may see."""

    has_people: bool
    has_cards: bool
    has_pushes: bool
    has_arrived: bool


def first_steps(request: HttpRequest, corps: Sequence[Corp]) -> list[Step]:
    """In the order in which one works; empty once all are done, and for whoever can take none of them.

    `corps`: the companies that the person sees. Two queries.
    """
    if not _may_take_any(request):
        return []
    if not corps and not sees_all(request.user):
        sentence = _("No WeCom company is assigned to you. A system administrator does that on your page under Users.")
        return [Step(pgettext("step", "Company"), "", sentence)]
    facts = _facts(request)
    steps = [
        _address(request, corps),
        _company(request, corps),
        _people(request, corps, facts),
        _data(request, facts),
        _push(request, facts),
        _arrived(request, facts),
    ]
    return [] if all(step.is_done for step in steps) else steps


def _facts(request: HttpRequest) -> _Facts:
    visible = Corp.objects.visible_to(request.user)
    pushes = Subscription.objects.visible_to(request.user)
    sent = Q(status__in=(Delivery.Status.ACCEPTED, Delivery.Status.UNKNOWN))
    found = (
        Corp.objects.order_by("pk")
        .annotate(
            has_people=Exists(WeComAccount.objects.filter(corp__in=visible, user__is_active=True)),
            has_cards=Exists(Card.objects.visible_to(request.user)),
            has_pushes=Exists(pushes.filter(is_enabled=True)),
            has_arrived=Exists(Delivery.objects.visible_to(request.user).filter(sent)),
        )
        .values_list("has_people", "has_cards", "has_pushes", "has_arrived")
        .first()
    )
    return _Facts(*found) if found else _Facts(False, False, False, False)


def _address(request: HttpRequest, corps: Sequence[Corp]) -> Step:
    name = pgettext("step", "Address")
    purpose = _("At which people reach this site. All that WeCom's console asks for derives from it.")
    address = SiteAddress.objects.filter(is_default=True).first()
    if address is not None and not address.is_local:
        return Step(name, purpose, address.url, is_done=True)
    is_trial = address is not None and bool(corps) and all(corp.is_sandbox for corp in corps)
    if address is not None and is_trial:
        return Step(name, purpose, _("%(url)s, for a trial on this machine.") % {"url": address.url}, is_done=True)
    if not (request.user.has_perm("integrations.change_siteaddress") and sees_all(request.user)):
        return Step(name, purpose, _("A system or integration administrator saves it."))
    sentence = _("Still %(url)s, which only this machine reaches.") % {"url": address.url if address else "—"}
    page = reverse("admin:integrations_siteaddress_changelist") if address is None else _change_page(address)
    return Step(name, purpose, sentence, label=_("Save the site address"), url=page)


def _company(request: HttpRequest, corps: Sequence[Corp]) -> Step:
    name = pgettext("step", "Company")
    purpose = _("Connects WeCom: CorpId, AgentId and Secret. The company's page leads on step by step.")
    enabled = [corp.name for corp in corps if corp.is_enabled]
    if enabled:
        return Step(name, purpose, _("Enabled: %(names)s") % {"names": _(", ").join(enabled[:3])}, is_done=True)
    if not request.user.has_perm("integrations.change_corp"):
        return Step(name, purpose, _("A system or integration administrator connects one."))
    if corps:
        sentence = _("“%(corp)s” is not enabled yet.") % {"corp": corps[0]}
        return Step(name, purpose, sentence, label=_("Go on"), url=_change_page(corps[0]))
    if not (request.user.has_perm("integrations.add_corp") and sees_all(request.user)):
        return Step(name, purpose, _("A system or integration administrator connects one."))
    page = reverse("admin:integrations_corp_add")
    return Step(name, purpose, _("None yet."), label=_("Connect a company"), url=page)


def _people(request: HttpRequest, corps: Sequence[Corp], facts: _Facts) -> Step:
    name = pgettext("step", "People")
    purpose = _("Who receives pushes and signs in: users with a WeCom account, from the directory or from a sheet.")
    if facts.has_people:
        return Step(name, purpose, _("Users are linked with WeCom."), is_done=True)
    enabled = [corp for corp in corps if corp.is_enabled]
    if enabled and request.user.has_perm(SYNC):
        page = reverse("admin:integrations_syncrun_start", args=[enabled[0].pk])
        return Step(name, purpose, _("Nobody is linked yet."), label=_("Synchronise the directory"), url=page)
    if request.user.has_perm("accounts.add_peopleimport"):
        page = reverse("admin:accounts_peopleimport_add")
        return Step(name, purpose, _("Nobody is linked yet."), label=_("Import people"), url=page)
    return Step(name, purpose, _("An integration administrator synchronises the directory."))


def _data(request: HttpRequest, facts: _Facts) -> Step:
    name = pgettext("step", "Data")
    purpose = _("Cards of the BI, or queries of a database or web service, of which messages are made.")
    if facts.has_cards:
        return Step(name, purpose, _("There are cards to choose from."), is_done=True)
    if facts.has_pushes:
        return Step(name, purpose, _("Not needed: the pushes so far are words only."), is_done=True)
    if request.user.has_perm("integrations.add_datasource"):
        page = reverse("admin:integrations_datasource_add")
        return Step(name, purpose, _("No card yet."), label=_("Add a data source"), url=page)
    return Step(name, purpose, _("A system or integration administrator adds a data source."))


def _push(request: HttpRequest, facts: _Facts) -> Step:
    name = pgettext("step", "Push")
    purpose = _("What is sent, to whom and when.")
    if facts.has_pushes:
        return Step(name, purpose, _("A push is enabled."), is_done=True)
    if request.user.has_perm("notifications.add_subscription"):
        page = reverse("admin:notifications_subscription_add")
        return Step(name, purpose, _("None is enabled."), label=_("New push"), url=page)
    return Step(name, purpose, _("A push editor makes it."))


def _arrived(request: HttpRequest, facts: _Facts) -> Step:
    name = pgettext("step", "Delivered")
    purpose = _("The first message on a phone. The log shows who got it.")
    if facts.has_arrived:
        return Step(name, purpose, _("WeCom accepted a message."), is_done=True)
    page = reverse("admin:notifications_run_changelist") if request.user.has_perm("notifications.view_run") else ""
    return Step(name, purpose, _("Nothing was sent yet."), label=_("Open the log") if page else "", url=page)


def _may_take_any(request: HttpRequest) -> bool:
    return any(
        request.user.has_perm(permission)
        for permission in (
            *("integrations.change_siteaddress", "integrations.change_corp", "accounts.add_peopleimport"),
            *("integrations.add_datasource", "notifications.add_subscription"),
        )
    )


def _change_page(row: Corp | SiteAddress) -> str:
    return reverse(f"admin:integrations_{row._meta.model_name}_change", args=[row.pk])
