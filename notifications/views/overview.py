"""The admin index: state of each company, what needs attention, chart of the last days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils import timezone

from integrations.core import hooks
from integrations.core.hooks import Attention, Line
from integrations.models import Corp
from notifications.delivery.runs import statistics
from notifications.models import Delivery
from notifications.views.first_steps import Step, first_steps
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
        steps=first_steps(request, corps),
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


def _may(request: HttpRequest, app: str, model: str) -> bool:
    return request.user.has_perm(f"{app}.view_{model}") or request.user.has_perm(f"{app}.change_{model}")
