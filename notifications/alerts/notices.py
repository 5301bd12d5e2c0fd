"""Messages of alerts: their recipients, and their content as a card with buttons, a card with a link or plain text.

A card shows the state at the time it is made or changed; a different `make_digest` means that it is out of date.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Self

from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext, pgettext

from accounts.models import AttributeValue, User, fold_value
from accounts.users.roles import sees_rows_without_corp
from integrations.clients.wecom import builders, cards
from integrations.clients.wecom.builders import encode_body
from integrations.clients.wecom.cards import Button, Source
from integrations.models import Card, Corp
from notifications import sources
from notifications.delivery.rendering.message_builder import clip_text, tidy_text, tidy_title
from notifications.models import (
    Channel,
    InboundChannel,
    Incident,
    IncidentEvent,
    MessageForm,
    Operator,
    Priority,
    Receipt,
    Robot,
    RulesMatch,
    Run,
    Severity,
)
from notifications.sources import Audience, Rule
from notifications.subscriptions.recipients import (
    find_chosen_audience,
    find_reachable_people,
    match_chosen,
    match_rules,
    read_audience,
    resolve_audience,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integrations.clients.wecom.builders import Content
    from integrations.models import SiteAddress


ACKNOWLEDGE_KEY, SILENCE_KEY = "alert-take", "alert-silence-1h"
NAMED_AT_MOST = 10  # incidents in one message; further ones are counted
# WeCom's suggested lengths; it shortens longer texts.
TITLE_CHARACTERS, DESCRIPTION_CHARACTERS, TEXT_CHARACTERS, VALUE_CHARACTERS = 36, 44, 160, 30
GREY, RED, GREEN = 0, 2, 3  # colours of a card's source in WeCom
LIFETIME_HOURS = 24
Notice = Incident.Notice


@dataclass(frozen=True)
class AlertNotice:
    """Content of one message: the incidents, the kind of notice and the time (`now`) whose state it shows."""

    incidents: Sequence[Incident]
    kind: str
    now: datetime

    @property
    def is_over(self) -> bool:
        return all(not one.is_open for one in self.incidents)

    @property
    def lead(self) -> Incident:
        """The first incident, which stands for all: their source, audience and, if it is the only one, the title."""
        return self.incidents[0]


class AlertRunSource:
    """Source of an alert's run. Without stored incidents it has no recipients."""

    def __init__(self, run: Run, notice: AlertNotice | None = None) -> None:
        """Load the run's notice, or use `notice`, whose incidents are unsaved drafts."""
        self._run, self._is_draft = run, notice is not None
        self._notice = notice or read_notice(run, now=run.slot_at, with_lock=False)
        self.terms = sources.Terms(MessageForm.TEXTCARD, Priority.URGENT, LIFETIME_HOURS, run.corp_id)

    @classmethod
    def for_run(cls, run: Run) -> Self | None:
        """Return the source of an alert's run; None for a run of another kind (notifications.sources.run_sources)."""
        return cls(run) if run.trigger == Run.Trigger.ALERT else None

    def find_audience(self) -> sources.Audience:
        return sources.Audience() if self._notice is None else find_audience(self._notice.lead)

    def build_contents(self, *, now: datetime) -> sources.RunContents:
        notice = self._notice
        if notice is None:
            return sources.RunContents(sources.Content(_("Alerts"), ""))
        link = make_page_path(notice.incidents, "").partition("?")[0]
        # The whole text without formatting, for e-mail, a group's robot and the page of the message.
        blocks = []
        for incident in notice.incidents[:NAMED_AT_MOST]:
            since = _("Since %(time)s") % {"time": f"{timezone.localtime(incident.starts_at):%Y-%m-%d %H:%M}"}
            labels = ", ".join(f"{name}={value}" for name, value in _list_distinctive_labels(incident))
            facts = (incident.title, incident.summary, since, describe_state(incident, notice.now), labels)
            blocks.append("\n".join(filter(None, facts)))
        text = tidy_text("\n\n".join([*blocks, *_describe_unnamed(notice)]))
        return sources.RunContents(sources.Content(write_title(notice), text, link=link))

    def build_app_body(
        self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime
    ) -> bytes:
        """Return the request body of the card with its buttons, showing the incidents as they are now."""
        notice = self._notice if self._is_draft else read_notice(self._run, now=now, with_lock=True)
        if notice is None:
            raise Incident.DoesNotExist
        url = address.absolute(make_page_path(notice.incidents, mark))
        # Clicks reach us only if WeCom has verified the app's callback address.
        has_buttons = corp.callback_verified_at is not None
        message = builders.build_app_message(
            agentid=corp.agentid,
            userids=userids,
            content=make_card(notice, url=url, mark=mark, has_buttons=has_buttons),
            drops_duplicates=True,
        )
        return encode_body(message)

    def note_unreached(self, reason: str) -> None:
        """Note in the incidents' timelines that this message reached nobody, and why."""
        IncidentEvent.objects.filter(run=self._run).update(note=reason)


def read_notice(run: Run, *, now: datetime, with_lock: bool) -> AlertNotice | None:
    """Return the notice of a run with its incidents' current state; None without incidents. `with_lock`: lock the
    incidents, inside a transaction. A later change of one of them then finds this message and updates its
    card."""
    events = IncidentEvent.objects.filter(run=run)
    kind = events.values_list("notice", flat=True).first()
    found = Incident.objects.filter(pk__in=events.order_by().values("incident")).order_by("pk")
    if with_lock:
        list(found.select_for_update(of=("self",)).values_list("pk"))
    incidents = list(found.with_people())
    return AlertNotice(incidents, kind, now) if incidents and kind else None


# --- What a message says ---


def write_title(notice: AlertNotice) -> str:
    """Return a badge, then the incident's title or, for several incidents, their source's name and their number."""
    lead, count = notice.lead, len(notice.incidents)
    words = lead.title
    if count > 1:
        name = str(lead.source) if lead.source is not None else lead.title
        words = ngettext("%(name)s: %(count)d alert", "%(name)s: %(count)d alerts", count)
        words = words % {"name": name, "count": count}
    if notice.kind == Notice.RECOVER or notice.is_over:
        badge = pgettext("before an alert's title", "[Over]")
    else:
        badges = {
            Severity.CRITICAL: pgettext("before an alert's title", "[Critical]"),
            Severity.WARNING: pgettext("before an alert's title", "[Warning]"),
            Severity.INFO: pgettext("before an alert's title", "[Notice]"),
        }
        still = pgettext("before an alert's title", "[Still]") if notice.kind == Notice.REPEAT else ""
        badge = still + badges[_find_worst_severity(notice.incidents)]
    return tidy_title(f"{badge} {words}")


def make_card(notice: AlertNotice, *, url: str, mark: str, has_buttons: bool) -> Content:
    """Return the card for the current state. `mark`: unique to the delivery; a click names the card by it.
    `has_buttons`: add the buttons whose action would change something."""
    lead, colour = notice.lead, GREY
    if notice.is_over or notice.kind == Notice.RECOVER:
        colour = GREEN
    elif _find_worst_severity(notice.incidents) == Severity.CRITICAL:
        colour = RED
    origin = str(lead.source) if lead.source is not None else _("Alerts")
    description = "" if len(notice.incidents) > 1 else " ".join(lead.summary.split())
    head = cards.Head(
        title=clip_text(write_title(notice), TITLE_CHARACTERS),
        description=clip_text(description, DESCRIPTION_CHARACTERS),
        source=Source(text=clip_text(origin, 20), colour=colour),
        task_id=mark,
        url=url,
    )
    rows = [(_("Since"), format_clock(min(one.starts_at for one in notice.incidents), notice.now))]
    if notice.is_over and lead.ends_at is not None:
        rows.append((_("Until"), format_clock(lead.ends_at, notice.now)))
    if len(notice.incidents) == 1:
        for name, value in islice(_list_distinctive_labels(lead), 3):
            rows.append((clip_text(name, 12), clip_text(value, VALUE_CHARACTERS) or "—"))
    states = {describe_state(one, notice.now) for one in notice.incidents}
    open_ones = [one for one in notice.incidents if one.is_open]
    counts = {
        "open": len(open_ones),
        "taken": sum(one.acknowledged_at is not None for one in open_ones),
        "over": len(notice.incidents) - len(open_ones),
    }
    state = states.pop() if len(states) == 1 else _("%(open)d open, of them %(taken)d taken; %(over)d over") % counts
    # The count comes first: the end of a long text is cut off.
    lines = [state, *_describe_unnamed(notice)]
    if len(notice.incidents) > 1:
        shared, names = _name_incidents(notice.incidents)
        lines += [*shared, *(f"· {name}" for name in names[:NAMED_AT_MOST])]
    text = clip_text("\n".join(lines), TEXT_CHARACTERS)
    buttons = []
    if has_buttons and any(one.acknowledged_at is None for one in open_ones):
        buttons.append(Button(pgettext("button of an alert", "Take"), key=ACKNOWLEDGE_KEY, style=1))
    if has_buttons and any(not one.is_silenced(notice.now) for one in open_ones):
        buttons.append(Button(pgettext("button of an alert", "Silence for 1 hour"), key=SILENCE_KEY, style=2))
    if buttons:
        return cards.build_button_interaction(head, buttons=buttons, sub_title=text, lines=rows)
    return cards.build_text_notice(head, sub_title=text, lines=rows)


def make_digest(notice: AlertNotice) -> str:
    """Return a digest that changes exactly when the card has to be changed."""
    state = [
        [one.pk, one.status, one.acknowledged_by_id, one.is_silenced(notice.now) and str(one.silenced_until)]
        for one in notice.incidents
    ]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def make_page_path(incidents: Sequence[Incident], mark: str) -> str:
    """Return the path of the incident's page, or of the list for several incidents. `mark`: of the message; it tells
    the page through which company a visitor without a session signs in."""
    page = f"{incidents[0].pk}/" if len(incidents) == 1 else ""
    return f"/alerts/{page}?{urlencode({'m': mark})}"


def describe_state(incident: Incident, now: datetime) -> str:
    """Say in a few words who has taken the incident, until when it is silent, or since when it is over."""
    if not incident.is_open:
        return _("Over since %(time)s") % {"time": format_clock(incident.resolved_at or now, now)}
    lines = []
    if incident.acknowledged_at is not None:
        words = {"name": _name_person(incident.acknowledged_by), "time": format_clock(incident.acknowledged_at, now)}
        lines.append(_("%(time)s taken by %(name)s") % words)
    if incident.silenced_until is not None and incident.is_silenced(now):
        words = {"name": _name_person(incident.silenced_by), "time": format_clock(incident.silenced_until, now)}
        lines.append(_("silent until %(time)s (%(name)s)") % words)
    return " · ".join(lines) or _("Nobody has taken it yet")


def format_clock(moment: datetime, now: datetime) -> str:
    """Return the local time of day, with the date if it is not today."""
    local, today = timezone.localtime(moment), timezone.localtime(now)
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%m-%d %H:%M}"


def _find_worst_severity(incidents: Sequence[Incident]) -> Severity:
    severities = {one.severity for one in incidents}
    return next(one for one in (Severity.CRITICAL, Severity.WARNING, Severity.INFO) if one in severities)


def _list_distinctive_labels(incident: Incident) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in incident.labels.items() if name not in {"alertname", "severity"})


def _name_incidents(incidents: Sequence[Incident]) -> tuple[list[str], list[str]]:
    """Return the title that all incidents share, if any, and a distinctive name for each. Equal titles are told apart
    by the values of the labels in which the incidents differ."""
    titles = [one.title for one in incidents]
    if len(set(titles)) == len(titles):
        return [], titles
    all_labels = [dict(_list_distinctive_labels(one)) for one in incidents]
    names = dict.fromkeys(chain(*all_labels))
    differing = [name for name in names if len({labels.get(name) for labels in all_labels}) > 1]
    values = [", ".join(labels[name] for name in differing if labels.get(name)) for labels in all_labels]
    if len(set(titles)) == 1:
        return titles[:1], [value or "—" for value in values]
    return [], [f"{title} ({value})" if value else title for title, value in zip(titles, values, strict=True)]


def _describe_unnamed(notice: AlertNotice) -> list[str]:
    """Return lines that say how many incidents the message does not name, and how many the sender left out."""
    lines = []
    more = len(notice.incidents) - NAMED_AT_MOST
    if more > 0:
        lines.append(npgettext("alerts", "and %(count)d more", "and %(count)d more", more) % {"count": more})
    if left_out := sum(one.truncated_count for one in notice.incidents):
        sentence = ngettext(
            "The sender left out %(count)d more alert.", "The sender left out %(count)d more alerts.", left_out
        )
        lines.append(sentence % {"count": left_out})
    return lines


def _name_person(person: User | None) -> str:
    return _("somebody") if person is None else person.get_full_name()


def find_audience(incident: Incident) -> Audience:
    """Return the people whom an incident concerns now. If its rule is split by an attribute, these are the rule's
    people whose attribute has the incident's value."""
    audience = _find_whole_audience(incident)
    attribute = None if incident.rule is None else incident.rule.split_attribute
    if attribute is None or audience.channel == Channel.ROBOT:
        return audience
    has_value = Rule(attribute, Operator.ONE_OF, (incident.part,))
    people = User.objects.filter(match_chosen(audience)).filter(match_rules([has_value], RulesMatch.ALL))
    return Audience(
        user_ids=people.order_by().values("pk"),
        corp_id=audience.corp_id,
        channel=audience.channel,
        fallback_channel=audience.fallback_channel,
    )


def _find_whole_audience(incident: Incident) -> Audience:
    """Return the people of the incident's rule, or the people chosen on its channel's page whom the channel's owner may
    reach now. Nobody if the rule or channel is gone, or the owner may not send messages. The part does not matter."""
    if incident.rule is not None:
        return read_audience(incident.rule)
    channel = incident.channel
    if channel is None or not InboundChannel.objects.usable().filter(pk=channel.pk).exists():
        return Audience()
    people = find_reachable_people(channel).filter(match_chosen(find_chosen_audience(channel)))
    return Audience(user_ids=people.order_by().values("pk"), corp_id=channel.corp_id)


def waits_for_company(incident: Incident) -> bool:
    """Return whether nobody can be notified now, but somebody could if a disabled company were enabled."""
    audience = find_audience(incident)
    disabled = set(Corp.objects.filter(is_enabled=False).values_list("pk", flat=True))
    if audience.channel == Channel.ROBOT:
        return Robot.objects.filter(pk=audience.robot_id or 0, corp__in=disabled).exists()
    reasons = {person.reason for person in resolve_audience(audience)} if disabled else {None}
    return None not in reasons and (Receipt.Reason.CORP_DISABLED in reasons or audience.corp_id in disabled)


def make_audience_key(incident: Incident) -> tuple[object, ...]:
    """Return a key that is equal for incidents that concern the same people."""
    if incident.rule is None:
        return ("channel", incident.channel_id)
    is_split = incident.rule.split_attribute_id is not None
    return ("rule", incident.rule.pk, incident.part if is_split else "")


class ConcernCheck:
    """Check whether incidents concern `person`: whether messages about them go to `person` now. It queries once per
    rule or channel and once for the person's attribute values, for any number of incidents."""

    def __init__(self, person: User) -> None:
        self._person = person
        self._notified: dict[tuple[int | None, int | None], bool] = {}

    def __call__(self, incident: Incident) -> bool:
        attribute = None if incident.rule is None else incident.rule.split_attribute_id
        if attribute is not None and fold_value(incident.part) not in self._values[attribute]:
            return False
        key = (incident.rule_id, incident.channel_id)
        if key not in self._notified:
            audience = _find_whole_audience(incident)
            people = () if audience.channel == Channel.ROBOT else resolve_audience(audience, only=self._person.pk)
            self._notified[key] = any(one.reason is None for one in people)
        return self._notified[key]

    @cached_property
    def _values(self) -> Mapping[int, set[str]]:
        found: dict[int, set[str]] = defaultdict(set)
        for attribute_id, folded in AttributeValue.objects.filter(user=self._person).values_list("attribute", "folded"):
            found[attribute_id].add(folded)
        return found


def may_act(incident: Incident, person: User) -> bool:
    """Return whether the person may act: a recipient, or an administrator of the company who may change incidents."""
    if not person.is_active:
        return False
    if ConcernCheck(person)(incident):
        return True
    if not person.is_staff or not person.has_perm("notifications.change_incident"):
        return False
    if incident.corp_id is None:
        return sees_rows_without_corp(person)
    return Corp.objects.visible_to(person).filter(pk=incident.corp_id).exists()


def may_see_data(incident: Incident, person: User) -> bool:
    """Return whether somebody who may see the incident may also see its data. Recipients may, and administrators who
    may see the card: a rule's people and its card may belong to different companies."""
    is_seen = incident.card_id is not None and Card.objects.visible_to(person).filter(pk=incident.card_id).exists()
    return is_seen or ConcernCheck(person)(incident)
