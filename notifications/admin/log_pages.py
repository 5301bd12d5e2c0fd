"""Admin pages of the log: runs, their messages as sent, a receipt for each person, and incidents."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from accounts.admin.base import Column, format_moment, format_moment_as_text
from accounts.models import User
from integrations.admin.base import State, find_row, make_routes, show_state, show_status
from integrations.core import sentences
from integrations.core.background import database_now
from integrations.models import CardData
from notifications.admin import base, log, resend
from notifications.alerts import actions, charts
from notifications.alerts.actions import Action
from notifications.delivery import explanations
from notifications.delivery.explanations import name_run, name_runs, prepare_names
from notifications.delivery.rendering import report_contents
from notifications.delivery.rendering.preview import read_message
from notifications.delivery.runs import statistics
from notifications.delivery.sending.queue import CORP_SECRETS
from notifications.models import Delivery, Incident, MakerQueue, Medium, Receipt, Run
from notifications.models.alerts import Severity
from notifications.subscriptions.recipients import SET_ON_PERSON
from notifications.views.media import answer_medium

# --- Runs -------------------------------------------------------------------------------------------------------------


class RunFilter(log.LogFilter):
    day_column = "claimed_at"
    exact = {"subscription": _("push")}
    selects = {
        "status__exact": (_("status"), Run.Status.choices),
        "reached": (_("reached"), [("not_all", _("not everybody"))]),
        "trigger__exact": (_("trigger"), Run.Trigger.choices),
    }

    def narrow_rows(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        match name:
            case "reached":  # finished runs whose error says whom they did not reach
                return rows.filter(status=Run.Status.FINISHED).exclude(error="")
            case "corp":  # runs of the company, or with messages to it
                # EXISTS is checked run by run and stops after the first page; a union of keys would be built whole.
                sent_there = Exists(Delivery.objects.filter(run=OuterRef("pk"), corp_id=int(value)))
                return rows.filter(Q(corp_id=int(value)) | sent_there)
        return super().narrow_rows(rows, name, value)


# Rows shown on a page; the lists show all.
DELIVERIES_SHOWN = 100


@admin.register(Run)
class RunAdmin(log.LogAdmin):
    empty_list = _(
        "Each run of a push is listed here. The first one comes when a push is due, or with “Run now…” on its page."
    )
    columns = (
        Column("subject", _("name"), lambda run: run.plain_name),
        Column(
            "state",
            _("status"),
            lambda run: base.describe_state(*base.find_run_state(run.status, run.error, run.recipient_count)),
            base.show_run_state,
        ),
        Column("slot", _("due"), lambda run: run.slot_at, ordering="slot_at"),
        Column("ended", _("ended"), lambda run: run.finished_at),
        Column("trigger", _("trigger"), lambda run: run.get_trigger_display()),
        Column("recipients", _("recipients"), lambda run: base.count_run_people(run)[0]),
        Column("accepted", _("accepted"), lambda run: run.accepted_total if run.rendered_at else "—"),
        # People whose message is settled but was not accepted.
        Column(
            "not_accepted",
            _("not accepted"),
            lambda run: run.recipient_count - run.accepted_total - run.waiting_total if run.rendered_at else "—",
        ),
        Column("skipped", _("skipped"), lambda run: base.count_run_people(run)[1]),
        Column("why", _("reason"), lambda run: run.error_text),
    )
    list_columns = ("subject", "state", "slot", "trigger", "recipients", "accepted", "not_accepted", "skipped", "why")
    csv_columns = ("subject", "trigger", "slot", "ended", "state", *list_columns[4:])
    change_form_template = "admin/notifications/run_page.html"
    list_filter = (RunFilter,)
    search_fields = ("key",)
    search_help_text = _("Name of a push, or title of an alert or a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        deliveries = Delivery.objects.filter(run=OuterRef("pk")).order_by().values("run")
        fine = deliveries.filter(status=Delivery.Status.ACCEPTED)
        accepted = fine.annotate(total=Sum("recipient_count") - Sum("invalid_count") - Sum("unlicensed_count"))
        unsettled = deliveries.filter(status__in=Delivery.UNSETTLED).annotate(total=Sum("recipient_count"))
        seen = prepare_names(Run.objects.visible_to(request.user))
        return seen.annotate(
            accepted_total=Coalesce(Subquery(accepted.values("total")), 0),
            waiting_total=Coalesce(Subquery(unsettled.values("total")), 0),
        )

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the name of each run as `plain_name`."""
        named = name_runs(rows)
        for run in rows:
            run.plain_name = named[run.pk]

    def search_rows(self, rows: QuerySet[Run], words: str, seen_by: User) -> QuerySet[Run]:
        """Keep runs of visible pushes, alerts and incoming messages whose name contains `words`."""
        return rows.filter(pk__in=log.search_run_keys(words, seen_by=seen_by))

    def get_urls(self) -> list[URLPattern]:
        ours = make_routes(self, {("<int:pk>/state/", "state"): self.state_view})
        return [*ours, *resend.list_urls(self, "<int:pk>/{}/"), *super().get_urls()]

    def state_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Return the current parts of the run's page, which polls them."""
        context = self.describe_row(request, find_row(self, request, pk, to_change=False))
        templates = {"log-parts": "_run.html", "run-tools": "_run_tools.html"}
        parts = {
            place: render_to_string(f"admin/notifications/{name}", context, request)
            for place, name in templates.items()
        }
        html = render_to_string("admin/notifications/_run_line.html", context, request)
        return JsonResponse({"html": html, "parts": parts, "is_unfinished": context["is_under_way"]})

    def describe_row(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        deliveries = run.deliveries.filter(pk__in=Delivery.objects.visible_to(request.user))
        listed = deliveries.select_related("corp").defer("body").order_by("pk")[:DELIVERIES_SHOWN]
        states = dict(deliveries.order_by().values_list("status").annotate(Count("pk")))
        url = reverse("admin:notifications_delivery_changelist")
        title = name_run(run)
        kind = gettext("%(kind)s · %(trigger)s")
        return {
            "title": title,
            "subtitle": None,
            "heading": f"{title} · {timezone.localtime(run.slot_at):%Y-%m-%d %H:%M}",
            "heading_kind": kind % {"kind": pgettext("menu", "Delivery log"), "trigger": run.get_trigger_display()},
            "run": run,
            "run_line": log.describe_run(request, run),
            "facts": [*self.list_facts(run, "slot"), *_list_run_facts(request, run)],
            "is_under_way": run.status in log.UNDER_WAY,
            "technical": log.format_support_lines(
                (gettext("number"), run.pk),
                (pgettext("run", "key"), run.key),
                (gettext("claimed"), format_moment_as_text(run.claimed_at)),
                (gettext("rendered"), format_moment_as_text(run.rendered_at)),
                (gettext("ended"), format_moment_as_text(run.finished_at)),
            ),
            "deliveries": [(one, _show_delivery_status(one)) for one in listed],
            "states": [
                (
                    show_status(status, status.label),
                    states[status],
                    f"{url}?run__id__exact={run.pk}&status__exact={status}",
                )
                for status in Delivery.Status
                if status in states
            ],
            "failures": explanations.explain_deliveries(deliveries),
            "held_up": log.explain_held_up(request, deliveries),
            **log.describe_people(request, run=run.pk),
            **resend.list_actions(request, run),
        }


def _list_run_facts(request: HttpRequest, run: Run) -> list[tuple[Any, Any]]:
    push, message, resent, notice = run.subscription, run.message, run.resends, run.owner_notice
    notified: Any = gettext("nobody: it has no owner, was paused or taken back")
    if notice is not None:
        notified = log.link_to(request, notice, format_moment(run.owner_notified_at))
    recalled = run.recall_requested_at
    numbers: list[tuple[Any, Any]] = []
    counts, misfits = statistics.OutcomeCounts(), dict[str, int]()
    if run.rendered_at is not None:
        counts = statistics.count_outcomes("run", run.pk)
        ready = [data for _card, data in report_contents.find_card_data(run) if data.status == CardData.Status.READY]
        # Show only how many values do not fit: a viewer of the run may not see all of its data.
        misfits = {misfit.column: misfit.count for data in ready for misfit in data.table.misfits}
        numbers = [(_("recipients"), run.recipient_count), (_("skipped"), run.skipped_count)]
        numbers.append((_("accepted"), counts.accepted))
    return [
        *log.drop_empty_facts((_("begins"), run.due_at)),
        (_("ended"), format_moment(run.finished_at)),
        *numbers,
        *log.drop_empty_facts(
            (_("refused or canceled"), counts.refused),
            (_("outcome unknown"), counts.unknown),
            (_("waiting"), counts.waiting),
            (_("push"), push and log.link_to(request, push, str(push))),
            (_("requested by"), run.requested_by),
            (_("scheduled times"), run.slot_count if run.slot_count > 1 else 0),
            (_("incoming message"), message and log.link_to(request, message, message.title)),
            (_("API token"), run.api_token),
            (_("resend of"), resent and log.link_to(request, resent, format_moment(resent.slot_at))),
            (_("owner notified"), notified if run.owner_notified_at else ""),
            (
                _("taken back"),
                recalled and format_html("{} {}", format_moment(recalled), run.recall_requested_by or ""),
            ),
            (_("values that do not fit"), ", ".join(f"{name}: {count}" for name, count in misfits.items())),
            (_("error"), run.error_text),
        ),
    ]


# --- Messages ---------------------------------------------------------------------------------------------------------


class DeliveryFilter(log.LogFilter):
    exact = {"run": _("run")}
    selects = {"status__exact": (_("status"), Delivery.Status.choices)}


def _show_delivery_status(delivery: Delivery) -> SafeString:
    return show_status(delivery.status, delivery.get_status_display())


@admin.register(Delivery)
class DeliveryAdmin(log.LogAdmin):
    empty_list = _(
        "Each message to WeCom is listed here, with its recipients. The first one comes with the first run of a push."
    )
    columns = (
        Column("title", _("title"), lambda one: one.title, ordering="title"),
        Column("run", _("run"), lambda one: one.run_name),
        Column("corp_name", _("company"), lambda one: one.corp.name),
        Column("state", _("status"), lambda one: one.get_status_display(), _show_delivery_status),
        Column("recipient_count", _("recipients"), lambda one: one.recipient_count),
        Column("accepted", _("accepted"), lambda one: one.accepted_count),
        Column("invalid", _("invalid accounts"), lambda one: one.invalid_count + one.unlicensed_count),
        Column("tries", _("attempts"), lambda one: one.attempt_count),
        Column("errcode", _("WeCom's error code"), lambda one: one.errcode or None),
        Column("what", _("reason"), lambda one: one.explanation and one.explanation.what),
        Column("who", _("Who can fix it"), lambda one: one.explanation and one.explanation.who),
        Column("where", _("Where"), lambda one: one.explanation and one.explanation.where),
        Column("created", _("created"), lambda one: one.created_at, ordering="created_at"),
        Column("settled", _("settled"), lambda one: one.settled_at),
    )
    list_columns = (
        *("title", "corp_name", "state", "recipient_count"),
        *("accepted", "invalid", "tries", "created", "settled"),
    )
    csv_columns = (
        *("title", "run", "corp_name", "state", "recipient_count", "accepted", "invalid", "tries"),
        *("errcode", "what", "who", "where", "created", "settled"),
    )
    list_filter = (DeliveryFilter,)
    actions = ("resend", "recall")
    search_fields = ("mark",)
    search_help_text = _("Person, title, or the address of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        seen = prepare_names(Delivery.objects.visible_to(request.user), path="run__").select_related("corp")
        return seen.defer("body", "plain_body", "text", *CORP_SECRETS)

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the name of each row's run as `run_name`, and the `explanation` of a failure."""
        named = name_runs({one.run_id: one.run for one in rows}.values())
        for one in rows:
            one.run_name, one.explanation = named[one.run_id], explanations.explain_delivery(one)

    def search_rows(self, rows: QuerySet[Delivery], words: str, seen_by: User) -> QuerySet[Delivery]:
        """Keep messages with the mark in `words`; without a mark, those to matching people or with a matching title."""
        mark = log.find_mark(words)
        if mark is not None:
            return rows.filter(mark=mark)
        theirs = Receipt.objects.filter(user_id__in=log.search_people(words, seen_by=seen_by), delivery__isnull=False)
        to_people = Q(pk__in=log.read_few_keys(theirs.order_by("user", "-pk").values_list("delivery", flat=True)))
        # Select only the key: then reading the index on titles is enough, which is much smaller than the table.
        titled = Delivery.objects.filter(title__contains=words).order_by().values_list("pk", flat=True)
        return rows.filter(Q(pk__in=log.read_few_keys(titled)) | to_people)

    def get_urls(self) -> list[URLPattern]:
        ours = make_routes(self, {("<int:pk>/picture.svg", "picture"): self.picture_view})
        return [*ours, *resend.list_urls(self, "{}/<str:keys>/"), *super().get_urls()]

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(resend.PERMISSION)

    @admin.action(description=_("Send again to those not reached"), permissions=["resend"])
    def resend(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        return self._redirect_to_confirmation(request, "resend", chosen)

    @admin.action(description=_("Take back"), permissions=["resend"])
    def recall(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        return self._redirect_to_confirmation(request, "recall", chosen)

    def _redirect_to_confirmation(
        self, request: HttpRequest, name: str, chosen: QuerySet[Delivery]
    ) -> HttpResponse | None:
        """Redirect to the confirmation page; return None, which shows the list again, if the messages are gone."""
        most = resend.MESSAGES_AT_MOST
        keys = list(chosen.order_by("-pk").values_list("pk", flat=True)[: most + 1])
        if len(keys) > most:
            text = gettext("At most %(count)d messages at once: these are the newest of those chosen.")
            self.message_user(request, text % {"count": most}, messages.WARNING)
        return HttpResponseRedirect(resend.build_confirmation_url(name, keys[:most])) if keys else None

    def picture_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the picture of the message. Raises PermissionDenied if the person may not see the message."""
        delivery = self.get_object(request, str(pk))
        if delivery is None or not self.has_view_permission(request, delivery):
            raise PermissionDenied
        medium = delivery.medium if _is_viewable(delivery.medium) else None
        return answer_medium(medium, medium.extension if medium is not None and medium.name else "svg")

    def describe_row(self, request: HttpRequest, delivery: Delivery) -> dict[str, Any]:
        run_name, medium = name_run(delivery.run), delivery.medium
        run = log.link_to(request, delivery.run, run_name) or run_name
        is_drawn = medium is not None and medium.kind == Medium.Kind.PICTURE and medium.status == Medium.Status.READY
        is_drawn = is_drawn and _is_viewable(medium)
        picture = reverse("admin:notifications_delivery_picture", args=[delivery.pk]) if is_drawn else ""
        [(status_label, status)] = self.list_facts(delivery, "state")
        if delivery.is_accepted_on_repeat:
            status = format_html("{} {}", status, _("on repeat: the answer may lack invalid accounts"))
        waits = delivery.status in {Delivery.Status.PREPARING, Delivery.Status.PENDING}
        is_accepted = delivery.status == Delivery.Status.ACCEPTED
        facts = [
            (_("run"), run),
            (status_label, status),
            *self.list_facts(delivery, "corp_name"),
            (_("channel"), " / ".join(map(str, filter(None, (delivery.get_channel_display(), delivery.robot))))),
            (_("message form"), delivery.get_message_form_display()),
            *self.list_facts(delivery, "recipient_count", "accepted"),
            *log.drop_empty_facts((_("invalid"), delivery.invalid_count), (_("unlicensed"), delivery.unlicensed_count)),
            (_("due"), format_moment(delivery.run.due_at or delivery.run.slot_at)),
            *self.list_facts(delivery, "settled"),
            (_("expires after"), format_moment(delivery.expires_at)),
            *log.drop_empty_facts(
                (_("next attempt"), delivery.next_attempt_at if waits else None),
                (_("unclear since"), delivery.unclear_since),
                (_("taken back"), delivery.recalled_at),
                (_("to be taken back since"), None if delivery.recalled_at else delivery.recall_requested_at),
                (_("why it was not taken back"), delivery.recall_error),
                # The error of an accepted message is a remark by WeCom.
                (_("error"), sentences.translate_stored(delivery.error) if is_accepted else ""),
            ),
        ]
        return {
            "title": delivery.title,
            "subtitle": None,
            "way_back": [run],
            "delivery": delivery,
            "facts": facts,
            "technical": log.format_support_lines(
                (gettext("number"), delivery.pk),
                ("CorpId / AgentId", f"{delivery.corpid} / {delivery.agentid}"),
                ("msgid", delivery.msgid),
                (gettext("mark"), delivery.mark),
                ("errcode", delivery.errcode),
                (gettext("claimed"), format_moment_as_text(delivery.run.claimed_at)),
                (gettext("created"), format_moment_as_text(delivery.created_at)),
                (gettext("settled"), format_moment_as_text(delivery.settled_at)),
            ),
            "attempts": delivery.attempts.order_by("number"),
            "preview": read_message(delivery, medium_name="" if medium is None else medium.name, picture=picture),
            # 0: no number of people is shown.
            "failures": [(why, 0)] if (why := explanations.explain_delivery(delivery, with_answer=True)) else [],
            "held_up": log.explain_held_up(request, Delivery.objects.filter(pk=delivery.pk)),
            **log.describe_people(request, delivery=delivery.pk),
            **resend.list_actions(request, delivery.run, delivery),
        }


def _is_viewable(medium: Medium | None) -> bool:
    """Return whether the log may show the picture. Screenshots of BI pages were taken with a recipient's own rights, so
    only that recipient may see them."""
    return medium is not None and medium.queue != MakerQueue.SNAPSHOTS


# --- Receipts ---------------------------------------------------------------------------------------------------------


class ReceiptFilter(log.LogFilter):
    exact = {"run": _("run"), "delivery": _("message"), "user": _("person")}
    selects = {"status": (_("status"), log.LABELS.items()), "reason": (_("reason"), Receipt.Reason.choices)}
    # Skipped people have no message and therefore no company.
    corp_column = "delivery__corp"
    day_column = "run__claimed_at"

    def narrow_rows(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Apply one filter. The status of a receipt falls back to that of its message."""
        if name == "status":
            is_own = value in Receipt.Status.values
            return rows.filter(status=value) if is_own else rows.filter(status="", delivery__status=value)
        return super().narrow_rows(rows, name, value)


def _link_reason(receipt: Receipt) -> str:
    """Show the reason, linked to the person's page if it can be fixed there."""
    if receipt.reason in SET_ON_PERSON and receipt.user_id and getattr(receipt, "may_open_people", False):
        url = reverse("admin:accounts_user_change", args=[receipt.user_id])
        return format_html('<a href="{}">{}</a>', url, receipt.reason_text)
    return log.find_reason(receipt)


@admin.register(Receipt)
class ReceiptAdmin(log.LogAdmin):
    empty_list = _(
        "The outcome of each message is listed here for each person. The first ones come with the first run of a push."
    )
    columns = (
        Column("person", _("person"), log.name_person),
        Column("company_and_account", _("WeCom account"), log.name_account),
        Column(
            "state", _("status"), lambda one: log.LABELS.get(log.find_receipt_status(one), ""), log.show_receipt_status
        ),
        Column(
            "why", _("reason"), lambda one: one.explanation.what if one.explanation else one.reason_text, _link_reason
        ),
        Column("who", _("Who can fix it"), lambda one: one.explanation and one.explanation.who),
        Column("where", _("Where"), lambda one: one.explanation and one.explanation.where),
        Column(
            "message",
            _("message"),
            lambda one: one.delivery and one.delivery.title,
            # A skipped person has no message, only the run.
            lambda one: log.link_row(one.delivery or one.run, one.delivery.title if one.delivery else one.run_name),
        ),
        Column("due", _("due"), lambda one: one.run.slot_at),
        Column("read", _("read"), lambda one: one.read_at),
        Column("run", _("run"), lambda one: one.run_name),
    )
    list_columns = ("person", "company_and_account", "state", "why", "message", "due", "read")
    csv_columns = ("person", "company_and_account", "state", "why", "who", "where", "message", "due", "read", "run")
    list_filter = (ReceiptFilter,)
    search_fields = ("address",)
    search_help_text = _("Person, or the address of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        seen = prepare_names(Receipt.objects.visible_to(request.user), path="run__")
        seen = seen.select_related("user", "delivery__corp")
        may_open_people = Value(request.user.has_perm("accounts.view_user"), output_field=BooleanField())
        seen = seen.annotate(may_open_people=may_open_people)
        return seen.defer("delivery__body", "delivery__text", *(f"delivery__{name}" for name in CORP_SECRETS))

    def search_rows(self, rows: QuerySet[Receipt], words: str, seen_by: User) -> QuerySet[Receipt]:
        """Keep receipts with the mark in `words`; without a mark, those of matching people."""
        mark = log.find_mark(words)
        if mark is not None:
            return rows.filter(delivery__mark=mark)
        return rows.filter(user_id__in=log.search_people(words, seen_by=seen_by))

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the name of each row's run as `run_name`, and the `explanation` of a failure."""
        named = name_runs({one.run_id: one.run for one in rows}.values())
        for one in rows:
            one.run_name, one.explanation = named[one.run_id], explanations.explain_receipt(one)

    def describe_row(self, request: HttpRequest, receipt: Receipt) -> dict[str, Any]:
        run, delivery, run_name = receipt.run, receipt.delivery, name_run(receipt.run)
        way_back: list[tuple[Any, Any]] = [(_("run"), log.link_to(request, run, run_name) or run_name)]
        sent: list[tuple[Any, Any]] = []
        if delivery is not None:
            way_back.append((_("message"), log.link_to(request, delivery, delivery.title) or delivery.title))
            if (last := delivery.attempts.last()) is not None:
                sent = [(_("sent"), format_moment(last.started_at)), (_("answered"), format_moment(last.finished_at))]
                sent.append((_("attempt"), str(last)))
        facts = [
            *self.list_facts(receipt, "person", "company_and_account", "state"),
            (_("reason"), _link_reason(receipt) or "—"),
            *way_back,
            *self.list_facts(receipt, "due"),
            *((_("claimed"), format_moment(run.claimed_at)), (_("rendered"), format_moment(run.rendered_at))),
            *sent,
            *self.list_facts(receipt, "read"),
        ]
        return {
            "title": log.name_person(receipt),
            "subtitle": None,
            "way_back": [link for _label, link in way_back],
            "facts": facts,
            "technical": log.format_support_lines(
                (gettext("number"), receipt.pk), (pgettext("receipt", "address"), receipt.address)
            ),
            "failures": [(why, 0)] if (why := explanations.explain_receipt(receipt, with_answer=True)) else [],
            "held_up": log.explain_held_up(request, Delivery.objects.filter(pk__in=[receipt.delivery_id])),
        }


# --- Incidents --------------------------------------------------------------------------------------------------------

# The filter for each state that the list shows. A silenced incident may be acknowledged or not.
_INCIDENT_STATES: dict[str, tuple[Any, Callable[[Any], QuerySet[Incident]]]] = {
    "open": (Incident.Status.OPEN.label, lambda incidents: incidents.open()),
    "untaken": (_("nobody has taken it"), lambda incidents: incidents.open().unacknowledged()),
    "taken": (
        pgettext_lazy("state of an incident", "taken"),
        lambda incidents: incidents.open().filter(acknowledged_at__isnull=False),
    ),
    "silent": (_("silent"), lambda incidents: incidents.open().silent(timezone.now())),
    "over": (Incident.Status.RESOLVED.label, lambda incidents: incidents.filter(status=Incident.Status.RESOLVED)),
}


def _list_sources(name: str, person: User) -> list[tuple[Any, str]]:
    """Return the visible rules or channels that opened incidents."""
    sources: Any = Incident._meta.get_field(name).related_model
    opened = Exists(Incident.objects.filter(**{name: OuterRef("pk")}))
    return list(sources.objects.visible_to(person).filter(opened).order_by("name").values_list("pk", "name"))


class IncidentFilter(log.LogFilter):
    day_column = "opened_at"
    has_words = False
    selects = {
        "state": (_("status"), [(name, label) for name, (label, _narrow) in _INCIDENT_STATES.items()]),
        "severity__exact": (_("severity"), Severity.choices),
        "kind__exact": (_("kind"), Incident.Kind.choices),
        "rule__id__exact": (_("alert rule"), partial(_list_sources, "rule")),
        "channel__id__exact": (_("inbound channel"), partial(_list_sources, "channel")),
    }

    def narrow_rows(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        return _INCIDENT_STATES[value][1](rows) if name == "state" else super().narrow_rows(rows, name, value)


def _find_incident_state(incident: Incident) -> tuple[State, str]:
    """Return the incident's state, and a detail to show beside it."""
    if not incident.is_open:
        return State.DONE, incident.get_status_display()
    if incident.is_silenced(timezone.now()):
        return State.PAUSED, gettext("silent")
    if incident.acknowledged_at is not None:
        return State.RUNNING, pgettext("state of an incident", "taken")
    return State.RUNNING, incident.get_status_display()


@admin.register(Incident)
class IncidentAdmin(log.LogAdmin):
    empty_list = _("Incidents of alerts are listed here: when they began, who has taken them, and when they ended.")
    change_form_template = "admin/notifications/incident.html"
    columns = (
        Column("title", _("title"), lambda one: one.title),
        Column("level", _("severity"), lambda one: one.get_severity_display()),
        Column(
            "state",
            _("status"),
            lambda one: base.describe_state(*_find_incident_state(one)),
            lambda one: show_state(*_find_incident_state(one)),
        ),
        Column("source_name", _("from"), lambda one: one.source or "—"),
        Column("starts", _("began"), lambda one: one.starts_at),
        Column("ends", _("ended"), lambda one: one.ends_at),
        Column("acknowledger", _("taken by"), lambda one: one.acknowledged_by or "—"),
    )
    list_filter = (IncidentFilter,)
    search_fields = ("title",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        related = ("channel", "rule", "acknowledged_by", "silenced_by")
        return Incident.objects.visible_to(request.user).select_related(*related).defer("channel__last_payload")

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], Any] = {
            ("<int:pk>/act/", "act"): require_POST(self.act_view),
            ("<int:pk>/<int:picture>.<str:extension>", "picture"): require_safe(self.picture_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def describe_row(self, request: HttpRequest, incident: Incident) -> dict[str, Any]:
        person, now = base.get_administrator(request), database_now()
        notices = incident.events.filter(run__isnull=False).select_related("run")
        return {
            "title": incident.title,
            "incident": incident,
            "state": show_state(*_find_incident_state(incident)),
            "incident_view": actions.view_incident(incident, person=person, now=now),
            "pictures": charts.list_charts(incident, person=person, now=now),
            "labels": list(incident.labels.items()),
            "timeline": incident.events.select_related("user"),
            "severity": incident.get_severity_display(),
            "notices": [(one, base.show_run_state(one.run)) for one in notices.order_by("pk") if one.run is not None],
            "can_act": incident.is_open and request.user.has_perm("notifications.change_incident"),
        }

    def picture_view(self, request: HttpRequest, pk: int, picture: int, extension: str) -> HttpResponse:
        """Return a picture of the incident's data. `extension`: svg or png."""
        incident = find_row(self, request, pk, to_change=False)
        return answer_medium(charts.find_chart(incident, picture, person=base.get_administrator(request)), extension)

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Acknowledge, take over, silence, end the silence of, or close the incident."""
        find_row(self, request, pk, to_change=False)
        if not request.user.has_perm("notifications.change_incident"):
            raise PermissionDenied
        if request.POST.get("action") not in set(Action):
            return HttpResponseBadRequest()
        done = actions.act_on_incidents(
            Action(request.POST["action"]), [pk], person=base.get_administrator(request), now=database_now()
        )
        if done.changed:
            messages.success(request, gettext("Done. The cards on people's phones are changed, too."))
        else:
            messages.info(request, gettext("Nothing to do: somebody was faster, or it is over."))
        return HttpResponseRedirect(reverse("admin:notifications_incident_change", args=[pk]))
