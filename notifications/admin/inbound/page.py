"""What the page of an inbound channel shows beside its form: what came in last, the message of it, and who gets it.

Nothing is saved, and nobody gets anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.translation import gettext

from accounts.users.scopes import people_visible_to
from notifications.admin.inbound.form import TEMPLATES, ChannelForm
from notifications.alerts.ingest import Alert
from notifications.delivery.rendering.previews import Preview, preview_of
from notifications.inbound import accept, calls
from notifications.inbound.accept import Incoming
from notifications.inbound.alert_payloads import NoAlertsError, read_alerts
from notifications.inbound.calls import CallRefusedError
from notifications.inbound.fields import tree_of
from notifications.inbound.mapping import Mapped
from notifications.inbound.payloads import Payload
from notifications.models import InboundChannel, IncomingMessage
from notifications.reports.templates import merge_fields
from notifications.reports.templates.merge_fields import PAYLOAD, Field
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import Recipient

if TYPE_CHECKING:
    from django.http import QueryDict

    from accounts.models import User

FOLDER = "admin/notifications/inboundchannel"
NAMED_AT_MOST, ALERTS_NAMED_AT_MOST = 8, 20


@dataclass(frozen=True)
class Trial:
    """What the form as it stands makes of the last payload. `problem`: why there is no message. `unreached`: names with
    reasons."""

    is_left_out: bool = False
    problem: str = ""
    preview: Preview | None = None
    message_count: int = 0
    reached_count: int = 0
    reached: list[str] = field(default_factory=list)
    unreached_count: int = 0
    unreached: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    url_count: int = 0
    alerts: list[str] = field(default_factory=list)


def state_of(request: HttpRequest, channel: InboundChannel, form: ChannelForm, *, now: datetime) -> dict[str, Any]:
    """The answer to the page, for a form that was cleaned. `stamp`: of the last payload; empty while there is none."""
    last = calls.last_payload(channel, now=now)
    context = {
        "rows": [] if last is None else tree_of(last[0]),
        "at": None if last is None else last[1],
        "errors": list(dict.fromkeys(str(text) for texts in form.errors.values() for text in texts)),
        "trial": None if last is None else _trial(channel, form, last[0], now),
    }
    return {
        "folded": {},
        "waiting": "",
        "stamp": "" if last is None else last[1].isoformat(),
        "tree": render_to_string(f"{FOLDER}/_tree.html", context, request),
        "trial": render_to_string(f"{FOLDER}/_trial.html", context, request),
        "parts": {name: _parts(request.POST, name) for name in TEMPLATES},
        "sources": {name: request.POST.get(name, "") for name in TEMPLATES},
    }


def _trial(channel: InboundChannel, form: ChannelForm, payload: Payload, now: datetime) -> Trial:
    try:
        alerts = read_alerts(payload, now=now)[0] if channel.is_alert else []
        nothing = Mapped("", "", IncomingMessage.Markup.PLAIN, None)
        mapped = nothing if channel.is_alert else calls.mapped_of(channel, payload, now=now)
        if mapped is None:
            return Trial(is_left_out=True)
        is_limited = channel.reach == InboundChannel.Reach.CHOSEN
        # The people chosen on the page are not those of the row before they are saved.
        channel.reach, people = InboundChannel.Reach.EVERYONE, form.audience()
        incoming = calls.incoming_of(channel, mapped, key="preview", chosen=people)
        trial = _shown(replace(incoming, among=people if is_limited else None), mapped, form.person)
        return replace(trial, alerts=[_alert_line(one) for one in alerts[:ALERTS_NAMED_AT_MOST]])
    except (CallRefusedError, NoAlertsError) as error:
        return Trial(problem=str(error.sentence))
    except RenderingError as error:
        return Trial(problem=str(error.sentence))


def _shown(incoming: Incoming, mapped: Mapped, seen_by: User) -> Trial:
    found = accept.preview(incoming)
    reached = [one for one in found.recipients if one.reason is None]
    unreached = [one for one in found.recipients if one.reason is not None]
    return Trial(
        preview=preview_of(found.content, found.form, incoming.corp, file_name=_file_name(incoming)),
        message_count=found.message_count,
        reached_count=len(reached),
        reached=[name for name, _reason in _named(reached, seen_by)],
        unreached_count=len(unreached),
        unreached=_named(unreached, seen_by),
        unknown=[address.value for address, _why in found.unknown[:NAMED_AT_MOST]],
        refused=[str(one) for one in mapped.refused],
        url_count=len(mapped.urls),
    )


def _alert_line(alert: Alert) -> str:
    state = gettext("firing") if alert.ends_at is None else gettext("resolved")
    return f"{alert.title} · {alert.severity.label} · {state}"


def _file_name(incoming: Incoming) -> str:
    return next((file.name for file in incoming.files), "")


def _named(recipients: list[Recipient], seen_by: User) -> list[tuple[str, str]]:
    """The first of them by name with the reason, as far as the person may see them."""
    first = recipients[:NAMED_AT_MOST]
    people = people_visible_to(seen_by).in_bulk([one.user_id for one in first])
    hidden = gettext("somebody whom you do not see")
    words = {one.user_id: "" if one.reason is None else str(one.reason.label) for one in first}
    return [(str(people.get(user_id, hidden)), reason) for user_id, reason in words.items()]


def _parts(values: QueryDict, name: str) -> list[dict[str, str]] | None:
    """The texts and fields of a template; None where it can be written by hand alone."""
    parts = merge_fields.parts_of(values.get(name, "").replace("\r\n", "\n"), {PAYLOAD: ""})
    if parts is None:
        return None
    return [
        {"label": one.label, "template": one.template} if isinstance(one, Field) else {"text": one} for one in parts
    ]
