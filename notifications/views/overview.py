"""The admin index: state of each company, what needs attention, chart of the last days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.users.scopes import sees_all
from integrations.core import hooks
from integrations.core.hooks import Attention, Line
from integrations.models import Corp, SiteAddress
from notifications.delivery.runs import statistics
from notifications.models import Delivery, Subscription
from notifications.views.overview_chart import Picture, draw

if TYPE_CHECKING:
    from django.http import HttpRequest

DAYS = 14
# More cards than this are a list, and the list has a page of its own.
CARDS_SHOWN = 60
ATTENTIONS_SHOWN = 20


@dataclass(frozen=True)
class Card:
    """A corp as the index shows it. `url` is empty for who may not open its page."""

    name: str
    url: str
    lines: list[Line]


@dataclass(frozen=True)
class Step:
    """The next step of somebody who begins. Without `url`: somebody else has to take it."""

    sentence: str
    label: str = ""
    url: str = ""


@dataclass(frozen=True)
class Overview:
    cards: list[Card]
    has_more_cards: bool
    attentions: list[Attention]
    more_attentions: int
    steps: list[Step]
    picture: Picture | None
    sees_pushes: bool


def overview(request: HttpRequest) -> Overview:
    """What the person who asks may see, in a number of queries that depends on nothing but that person's rights."""
    visible = Corp.objects.visible_to(request.user).order_by("name", "pk")
    corps = list(visible.defer(*_UNREAD)[: CARDS_SHOWN + 1])
    shown = corps[:CARDS_SHOWN]
    lines: dict[int, list[Line]] = {corp.pk: [] for corp in shown}
    for found in hooks.index_lines(request, shown):
        for pk, more in found.items():
            lines[pk] += more
    may_open = _may(request, "integrations", "corp")
    cards = [
        Card(corp.name, reverse("admin:integrations_corp_change", args=[corp.pk]) if may_open else "", lines[corp.pk])
        for corp in shown
        if lines[corp.pk]
    ]
    attentions = hooks.attentions.joined(request, shown)
    sees_pushes = request.user.has_perm("notifications.view_delivery")
    return Overview(
        cards=cards,
        has_more_cards=len(corps) > CARDS_SHOWN,
        attentions=attentions[:ATTENTIONS_SHOWN],
        more_attentions=max(0, len(attentions) - ATTENTIONS_SHOWN),
        steps=_steps(request, corps),
        picture=_picture(request) if sees_pushes and corps else None,
        sees_pushes=sees_pushes,
    )


# Ciphertexts and certificates that no card shows.
_UNREAD = (
    *("secret", "contacts_secret", "contacts_callback_token", "contacts_callback_aes_key"),
    *("callback_token", "callback_aes_key", "proxy_url", "ca_bundle"),
)


def _picture(request: HttpRequest) -> Picture:
    days = statistics.last_days(
        Delivery.objects.visible_to(request.user),
        today=timezone.localdate(),
        days=DAYS,
        zone=timezone.get_current_timezone(),
    )
    return draw(days)


def _steps(request: HttpRequest, corps: list[Corp]) -> list[Step]:
    """The first steps of a fresh installation, in the order in which one works; none later."""
    if not corps:
        return _steps_without_corps(request)
    if not any(corp.is_enabled for corp in corps):
        return []
    may_order = request.user.has_perm("notifications.add_subscription")
    if may_order and not Subscription.objects.visible_to(request.user).exists():
        sentence = _("Nothing is sent yet. Write a report, then order by a subscription to whom it goes and when.")
        return [Step(sentence, _("Write the first report"), reverse("admin:notifications_report_add"))]
    return []


def _steps_without_corps(request: HttpRequest) -> list[Step]:
    may_add = request.user.has_perm("integrations.add_corp") and sees_all(request.user)
    if not may_add:
        if sees_all(request.user):
            return [Step(_("No WeCom company is connected yet. A system or integration administrator connects one."))]
        return [
            Step(_("No WeCom company is assigned to you. A system administrator does that on your page under Users."))
        ]
    steps = []
    address = SiteAddress.objects.filter(is_default=True).first()
    if address is not None and address.is_local and request.user.has_perm("integrations.change_siteaddress"):
        url = reverse("admin:integrations_siteaddress_change", args=[address.pk])
        sentence = _(
            "Save the address at which people reach this site: everything that WeCom asks for derives from it."
        )
        steps.append(Step(sentence, _("Save the site address"), url))
    sentence = _("Connect the first WeCom company: CorpId, AgentId and Secret, then its page leads on step by step.")
    return [*steps, Step(sentence, _("Connect a company"), reverse("admin:integrations_corp_add"))]


def _may(request: HttpRequest, app: str, model: str) -> bool:
    return request.user.has_perm(f"{app}.view_{model}") or request.user.has_perm(f"{app}.change_{model}")
