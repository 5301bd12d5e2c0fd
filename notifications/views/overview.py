"""The start page of the admin (companies, warnings, a chart of the last days, the first steps), and its search box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Exists, F, Subquery
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext
from django.views.decorators.http import require_safe

from accounts.directory.hooks import SYNC_PERMISSION as _SYNC
from accounts.models import DirectoryPolicy, User, WeComAccount
from accounts.users.roles import describe_contacts, sees_all
from integrations import bi
from integrations.bi import explain_findings
from integrations.core.hooks import Attention, Line
from integrations.models import BiConnection, Card, Corp, DataSource, Member, SiteAddress, SourceKind
from integrations.models.installation import SINGLETON_PK
from notifications.delivery.explanations import name_runs
from notifications.delivery.runs import statistics
from notifications.delivery.runs.statistics import DayCounts, OutcomeCounts
from notifications.models import Delivery, Run, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django.contrib.admin import AdminSite
    from django.http import HttpRequest, HttpResponse


DAYS = 14
# Further companies are shown only in the list of companies.
CARDS_SHOWN = 60
ATTENTIONS_SHOWN = 20


def collect_overview(
    request: HttpRequest,
    *,
    lines_of: Iterable[Callable[[HttpRequest, Sequence[Corp]], dict[int, list[Line]]]],
    attentions_of: Iterable[Callable[[HttpRequest, Sequence[Corp]], list[Attention]]],
    list_today: Callable[[HttpRequest, datetime], list[Any]],
) -> dict[str, Any]:
    """Collect what the person may see. The number of queries depends only on the person's permissions. `lines_of`
    returns lines by the company's pk, `attentions_of` returns warnings. Both get the companies that the person may see,
    and check further permissions themselves, as `list_today` does, which returns the lines of today's timeline."""
    visible = Corp.objects.visible_to(request.user).order_by("name", "pk")
    corps = list(visible.defer(*_DEFERRED)[: CARDS_SHOWN + 1])
    shown = corps[:CARDS_SHOWN]
    lines: dict[int, list[Line]] = {corp.pk: [] for corp in shown}
    for find_lines in lines_of:
        for pk, more in find_lines(request, shown).items():
            lines[pk] += more
    attentions = [one for find in attentions_of for one in find(request, shown)]
    sees_pushes, picture = request.user.has_perm("notifications.view_delivery"), None
    if sees_pushes and corps:
        sent, zone = Delivery.objects.visible_to(request.user), timezone.get_current_timezone()
        picture = place_bars(statistics.count_last_days(sent, today=timezone.localdate(), days=DAYS, zone=zone))
    today = list_today(request, timezone.now())
    sentence = ""
    if picture is not None:  # how many people were reached today, and what comes next
        count = picture["bars"][-1]["day"].counts.accepted
        sentence = ngettext("%(count)s recipient reached today", "%(count)s recipients reached today", count)
        sentence %= {"count": f"{count:,}"}
        following = next((line for line in today if line.is_to_come), None)
        if following is not None:
            start = f"{timezone.localtime(following.at):%H:%M}"
            words = {"sentence": sentence, "time": start, "name": following.name}
            sentence = _("%(sentence)s · next: %(time)s %(name)s") % words
    return {
        "cards": [(corp, lines[corp.pk]) for corp in shown if lines[corp.pk]],
        "may_open_corps": any(request.user.has_perm(f"integrations.{verb}_corp") for verb in ("view", "change")),
        "has_more_cards": len(corps) > CARDS_SHOWN,
        "attentions": attentions[:ATTENTIONS_SHOWN],
        "more_attentions": max(0, len(attentions) - ATTENTIONS_SHOWN),
        "steps": list_steps(request, corps),
        "today": today,
        "sentence": sentence,
        "may_add_push": request.user.has_perm("notifications.add_subscription"),
        "picture": picture,
        "sees_pushes": sees_pushes,
    }


# Ciphertexts and certificates are not needed here.
_DEFERRED = (
    *("secret", "contacts_secret", "contacts_callback_token", "contacts_callback_aes_key"),
    *("callback_token", "callback_aes_key", "proxy_url", "ca_bundle"),
)


# Least height of a part, in hundredths of the chart, so that three refused messages among thousands stay visible.
LOWEST = 2


def place_bars(days: Sequence[DayCounts]) -> dict[str, Any]:
    """Return the geometry of the chart in _picture.html: a bar for each day, oldest first. The height 100 is `top`."""
    highest, power = max((day.counts.settled for day in days), default=0), 1
    while power * 10 < highest:
        power *= 10
    top = next(power * factor for factor in (1, 2, 4, 6, 8, 10) if power * factor >= highest)
    bars = []
    for number, day in enumerate(days):
        parts, base = [], 100
        for name in ("accepted", "unknown", "refused"):
            if value := getattr(day.counts, name):
                height = max(LOWEST, round(100 * value / top))
                base -= height
                parts.append((name, base, height))
        label = f"{day.date.month}/{day.date.day}" if number == 0 or day.date.day == 1 else str(day.date.day)
        bars.append({"day": day, "x": f"{number + 0.15}", "label": label, "parts": parts})
    return {"days": len(days), "top": top, "bars": bars, "total": sum((day.counts for day in days), OutcomeCounts())}


# The permissions that the steps need.
_ADDRESS = "integrations.change_siteaddress"
_COMPANY, _NEW_COMPANY = "integrations.change_corp", "integrations.add_corp"
_SOURCE, _PUSH, _LOG = "integrations.add_datasource", "notifications.add_subscription", "notifications.view_run"


@dataclass(frozen=True)
class Step:
    """A setup step. `state`: what exists or is missing. `label`, `url`: its button; if empty, `ask` names people who
    can take the step. `other_label`, `other_url`: an alternative. `is_next`: the first open step that may not wait.
    `may_wait`: other steps can be taken without it."""

    name: str
    purpose: str
    state: str
    is_done: bool = False
    label: str = ""
    url: str = ""
    ask: str = ""
    other_label: str = ""
    other_url: str = ""
    may_wait: bool = False
    is_next: bool = False


def list_steps(request: HttpRequest, corps: Sequence[Corp] | None = None) -> list[Step]:
    """List the six setup steps in working order. Empty once all are done, and for people who may neither take a step
    nor see its subject. `corps`: the companies that the person sees, if they were read before. Makes two queries, one
    more if `corps` is None, and one for each step that somebody else must take."""
    steps_taken = (_ADDRESS, _COMPANY, "accounts.add_peopleimport", _SOURCE, _PUSH)
    if not any(map(request.user.has_perm, (*steps_taken, "integrations.view_corp", "notifications.view_subscription"))):
        return []
    if corps is None:
        visible = Corp.objects.visible_to(request.user).order_by("name", "pk")
        corps = list(visible.only("name", "is_enabled", "api_base_url")[: CARDS_SHOWN + 1])
    if not corps and not sees_all(request.user):
        sentence = _("No WeCom company is assigned to you. A system administrator does that on your page under People.")
        return [Step(pgettext("step", "Company"), "", sentence)]
    pushes = Subscription.objects.visible_to(request.user).filter(is_enabled=True).order_by("pk")
    sent = Delivery.objects.visible_to(request.user)
    sources = DataSource.objects.visible_to(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    connected = BiConnection.objects.filter(pk=SINGLETON_PK).exclude(base_url="").exclude(api_login="")
    linked = WeComAccount.objects.complete().filter(corp__in=Corp.objects.visible_to(request.user))
    # One row of facts about what the person may see.
    facts_by_name = {
        "has_people": Exists(linked.filter(user__is_active=True)),
        "has_policy": Exists(DirectoryPolicy.objects.visible_to(request.user)),
        "has_members": Exists(Member.objects.visible_to(request.user)),
        "has_cards": Exists(Card.objects.visible_to(request.user)),
        # There are sources of all companies, which people who see only some companies may not see.
        "has_hidden_data": Exists(DataSource.objects.hidden_from(request.user).filter(is_enabled=True)),
        "has_bi": Exists(sources.filter(Exists(connected))),
        # The test of the current BI connection.
        "bi_results": Subquery(connected.filter(checked_version=F("connection_version")).values("check_results")),
        "push_id": Subquery(pushes.values("pk")[:1]),
        "has_arrived": Exists(sent.filter(status=Delivery.Status.ACCEPTED)),
        "is_sending": Exists(Run.objects.visible_to(request.user).under_way()),
        "last_status": Subquery(sent.order_by("-pk").values("status")[:1]),
    }
    person = User.objects.filter(username=request.user.get_username()).annotate(**facts_by_name)
    facts = person.values_list(*facts_by_name, named=True).get()
    steps = [
        _make_address_step(request, corps),
        *_make_company_steps(request, corps, facts),
        _make_data_step(request, facts),
        *_make_push_steps(request, facts),
    ]
    if all(step.is_done for step in steps):
        return []
    following = next((step for step in steps if not step.is_done and not step.may_wait), None)
    return [replace(step, is_next=step is following) for step in steps]


def _offer_button(
    request: HttpRequest, permission: str, label: str, url: str, corp_ids: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return a button if the person may take the step, else the people to ask. `corp_ids`: the companies concerned;
    empty if only people who see all companies may take it."""
    if request.user.has_perm(permission) and (corp_ids != () or sees_all(request.user)):
        return {"label": label, "url": url}
    return {"ask": describe_contacts(request.user, permission, corp_ids)}


def _make_address_step(request: HttpRequest, corps: Sequence[Corp]) -> Step:
    name = pgettext("step", "Address")
    purpose = _("The address at which people reach this site. All that WeCom's console asks for derives from it.")
    address = SiteAddress.objects.filter(is_default=True).first()
    if address is not None and not address.is_local:
        return Step(name, purpose, address.url, is_done=True)
    is_trial = address is not None and bool(corps) and all(corp.is_sandbox for corp in corps)
    if address is not None and is_trial:
        return Step(name, purpose, _("%(url)s, for a trial on this machine.") % {"url": address.url}, is_done=True)
    may_wait = address is not None and not corps and address.domain == request.get_host()
    sentence = _("Still %(url)s, which only this machine reaches.") % {"url": address.url if address else "—"}
    if may_wait:
        sentence = _("%(sentence)s For a trial with the sandbox it may stay.") % {"sentence": sentence}
    page = reverse("admin:integrations_siteaddress_changelist") if address is None else _find_change_page(address)
    button = _offer_button(request, _ADDRESS, _("Save the site address"), page, ())
    return Step(name, purpose, sentence, may_wait=may_wait, **button)


def _make_company_steps(request: HttpRequest, corps: Sequence[Corp], facts: Any) -> tuple[Step, Step]:
    """Return the step that enables a company, and the step that links its people."""
    name = pgettext("step", "Company")
    purpose = _("Connects WeCom: CorpId, AgentId and Secret. The company's page leads on step by step.")
    enabled = [corp for corp in corps if corp.is_enabled]
    if enabled:
        state = _("Enabled: %(names)s") % {"names": _(", ").join(corp.name for corp in enabled[:3])}
        company = Step(name, purpose, state, is_done=True)
    elif corps:
        sentence = _("“%(corp)s” is not enabled yet.") % {"corp": corps[0]}
        button = _offer_button(request, _COMPANY, _("Go on"), _find_change_page(corps[0]), [corps[0].pk])
        company = Step(name, purpose, sentence, **button)
    else:
        page = reverse("admin:integrations_corp_add")
        button = _offer_button(request, _NEW_COMPANY, _("Connect a company"), page, ())
        company = Step(name, purpose, _("No company yet."), **button)
    name = pgettext("step", "People")
    purpose = _("Who receives pushes and signs in: people with a WeCom account, from a company's directory.")
    if facts.has_people:
        return company, Step(name, purpose, _("People are linked with WeCom."), is_done=True)
    if not enabled:
        missing = _("Nobody is linked yet: first a company has to be enabled.")
        return company, Step(name, purpose, missing, label=company.label, url=company.url, ask=company.ask)
    unlinked = _("The directory was read, but nobody is linked with it: choose what happens to people.")
    missing = unlinked if facts.has_members else _("Nobody is linked yet.")
    start = reverse("admin:integrations_syncrun_start", args=[enabled[0].pk])
    page = start if facts.has_policy else _find_change_page(enabled[0])  # which offers the first synchronisation
    return company, Step(name, purpose, missing, **_offer_button(request, _SYNC, _("Synchronise the directory"), page))


def _make_data_step(request: HttpRequest, facts: Any) -> Step:
    name = pgettext("step", "Data")
    purpose = _("Cards of the BI, or queries of a database or web service, of which messages are made.")
    if facts.has_cards:
        return Step(name, purpose, _("There is data to choose from."), is_done=True)
    # The connection works if its test succeeded, which runs after each change and also signs in.
    tested = {one["step"]: one["status"] for one in facts.bi_results or []}
    if facts.has_bi and tested.get("api") == bi.OK:
        return Step(name, purpose, _("The BI is connected: a push takes its cards."), is_done=True)
    if facts.push_id is not None:
        return Step(name, purpose, _("Not needed: the pushes so far contain text only."), is_done=True)
    sentence, source = _("No data yet."), ""
    if facts.has_bi:
        sentence = _("The BI is entered, but its connection has not passed its test.")
    if facts.has_hidden_data:
        sentence = _("There are data sources of all companies, which you may not see.")
    if request.user.has_perm(_SOURCE):
        source = reverse("admin:integrations_datasource_add")
    if request.user.has_perm("integrations.change_biconnection") and sees_all(request.user):
        page = reverse("admin:integrations_biconnection_changelist")
        problems = [line["sentence"] for line in explain_findings(facts.bi_results or []) if line["tone"] == "bad"]
        sentence = problems[0] if facts.has_bi and problems else sentence
        other = _("Or a database or web service") if source else ""
        label = _("Connect the BI")
        return Step(name, purpose, sentence, label=label, url=page, other_label=other, other_url=source)
    return Step(name, purpose, sentence, **_offer_button(request, _SOURCE, _("Add a data source"), source))


def _make_push_steps(request: HttpRequest, facts: Any) -> tuple[Step, Step]:
    """Return the step that enables a push, and the step that is done once a message has arrived."""
    push = Step(pgettext("step", "Push"), _("What is sent, to whom and when."), _("A push is enabled."), is_done=True)
    if facts.push_id is None:
        button = _offer_button(request, _PUSH, _("New push"), reverse("admin:notifications_subscription_add"))
        push = Step(push.name, push.purpose, _("No push is enabled."), **button)
    name = pgettext("step", "Delivered")
    purpose = _("The first message on a phone. The log shows who got it.")
    if facts.has_arrived:
        return push, Step(name, purpose, _("WeCom accepted a message."), is_done=True)
    is_first = facts.last_status is None and not facts.is_sending
    if is_first and facts.push_id and request.user.has_perm("notifications.change_subscription"):
        page = reverse("admin:notifications_subscription_run", args=[facts.push_id])
        return push, Step(name, purpose, _("Nothing was sent yet."), label=_("Send it now"), url=page)
    if facts.is_sending or facts.last_status in Delivery.UNSETTLED:
        sentence = _("A message is on its way.")
    elif is_first:
        sentence = _("Nothing was sent yet.")
    elif facts.last_status == Delivery.Status.UNKNOWN:
        sentence = _("WeCom did not report what became of the message: check whether it is on the phone.")
    else:
        sentence = _("No message has gone out: the log says why.")
    button = _offer_button(request, _LOG, _("Open the log"), reverse("admin:notifications_run_changelist"))
    return push, Step(name, purpose, sentence, **button)


def _find_change_page(row: Corp | SiteAddress) -> str:
    return reverse(f"admin:integrations_{row._meta.model_name}_change", args=[row.pk])


# --- The search box in the header: people, pushes, companies, data and messages by name -------------------------------

# In the order of display. Each uses the search of its own list page.
SEARCHED = (
    *("accounts.User", "notifications.Subscription", "notifications.AlertRule", "notifications.Incident"),
    *("integrations.Corp", "integrations.Card", "integrations.Member", "notifications.Run", "notifications.Delivery"),
)
RESULTS_SHOWN = 5
CHARACTERS_AT_MOST = 100


@require_safe
def search_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Show the first results of each list that the person may see. The number of queries is fixed."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:CHARACTERS_AT_MOST]
    admins = [site.get_model_admin(apps.get_model(label)) for label in SEARCHED] if text else []
    seen = [one for one in admins if one.has_view_or_change_permission(request)]
    found = []
    for model_admin in seen:
        options = model_admin.opts
        rows, _may_repeat = model_admin.get_search_results(request, model_admin.get_queryset(request), text)
        ordered = rows.order_by(*(model_admin.get_ordering(request) or ("-pk",)))
        # One more than shown tells that there are more. Rows may repeat if a relation was searched. Keys are selected
        # first, as in LogList, because the database would otherwise compute whole rows before dropping them.
        keys = dict.fromkeys(ordered.values_list("pk", flat=True)[: 2 * RESULTS_SHOWN + 1])
        by_key = model_admin.get_queryset(request).in_bulk(list(keys))
        first = [by_key[key] for key in keys if key in by_key]
        runs = name_runs(first) if options.model is Run else {}
        names = {pk: f"{name} {timezone.localtime(by_key[pk].slot_at):%Y-%m-%d %H:%M}" for pk, name in runs.items()}
        page = f"admin:{options.app_label}_{options.model_name}"
        first_page = f"{page}_card" if options.model is User else f"{page}_change"
        shown = [(names.get(row.pk) or str(row), reverse(first_page, args=[row.pk])) for row in first[:RESULTS_SHOWN]]
        # The address of all results, empty if all are shown.
        all_url = f"{reverse(f'{page}_changelist')}?{urlencode({'q': text})}" if len(first) > RESULTS_SHOWN else ""
        if shown:
            label = capfirst(str(options.verbose_name_plural))
            found.append({"label": label, "rows": shown, "list_url": all_url})
    context = {
        **site.each_context(request),
        "title": _("Search: %(text)s") % {"text": text} if text else _("Search"),
        "search_text": text,
        "found": found,
    }
    request.current_app = site.name  # as Django's own pages do
    return TemplateResponse(request, "admin/search.html", context)
