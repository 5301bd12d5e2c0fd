"""What the admin pages of an API token say of its messages: to whom they go, and how many a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.users.scopes import people_visible_to, sees_all_corps
from integrations.models import Corp
from notifications.inbound.accept import sent_today
from notifications.models import ApiToken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from accounts.models import User

SendReach = ApiToken.SendReach
PEOPLE = ("send_users", "send_groups", "send_departments")
FIELDS = ("may_send", "sends_to", "send_corps", *PEOPLE, "daily_limit", "allows_private_addresses")
LISTED_AT_MOST = 50


def limit_fields(fields: dict[str, Any], person: User) -> None:
    """Offer to `person` what is theirs to give. What is left empty says nothing where the token sends no messages."""
    fields["send_corps"].queryset = Corp.objects.visible_to(person).order_by("name")
    fields["send_users"].queryset = people_visible_to(person)
    fields["send_departments"].offer(seen_by=person, chosen=[])
    fields["allows_private_addresses"].disabled = not person.is_superuser
    for name in ("sends_to", "daily_limit"):
        fields[name].required = False
    # Whom it reaches must not grow with the owner's companies unasked.
    if not sees_all_corps(person):
        fields["sends_to"].choices = [one for one in SendReach.choices if one[0] != SendReach.EVERYONE]


def clean(cleaned: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong, by field. What is not meant is not kept: a list that says nothing would be read as if it did."""
    if not cleaned.get("may_send"):
        cleaned["sends_to"] = SendReach.CORPS
    cleaned["sends_to"] = cleaned.get("sends_to") or SendReach.CORPS
    if cleaned.get("daily_limit") is None:
        cleaned["daily_limit"] = ApiToken._meta.get_field("daily_limit").default
    reach, is_sending = cleaned["sends_to"], bool(cleaned.get("may_send"))
    meant = ("send_corps",) if reach == SendReach.CORPS else PEOPLE if reach == SendReach.CHOSEN else ()
    for name in ("send_corps", *PEOPLE):
        if name in cleaned and not (is_sending and name in meant):
            cleaned[name] = cleaned[name].none()
    if is_sending and meant and not any(cleaned.get(name) for name in meant):
        is_by_corp = reach == SendReach.CORPS
        yield meant[0], gettext("Choose at least one company.") if is_by_corp else gettext("Choose whom it may reach.")


def facts(token: ApiToken) -> list[tuple[Any, Any]]:
    """Of one that may send: to whom, and how many today of how many."""
    if not token.may_send:
        return []
    counts = {"sent": sent_today(token, now=timezone.now()), "limit": token.daily_limit}
    network = gettext("yes") if token.allows_private_addresses else gettext("no")
    return [
        (_("messages to"), _whom(token)),
        (_("messages today"), gettext("%(sent)d of %(limit)d") % counts),
        (_("webhooks may go into the internal network"), network),
    ]


def _whom(token: ApiToken) -> Any:
    lines = [str(token.get_sends_to_display())]
    if token.sends_to == SendReach.CORPS:
        lines += [str(corp) for corp in token.send_corps.order_by("name")[:LISTED_AT_MOST]]
    elif token.sends_to == SendReach.CHOSEN:
        named = (getattr(token, name).order_by("pk") for name in PEOPLE)
        lines += [str(one) for rows in named for one in rows[:LISTED_AT_MOST]]
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines))
