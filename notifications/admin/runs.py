"""The log of runs: each execution, and what became of its messages. Read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from integrations.admin.base import own_page
from integrations.core.background import database_now
from notifications.admin import base, log
from notifications.admin.base import (
    administrator,
    find_row,
    moment,
    pill,
    plain_moment,
    run_people,
    run_pill,
    run_state,
)
from notifications.admin.log import (
    MAY,
    ChoiceFilter,
    ExactPushFilter,
    ExportedLog,
    FormCorpFilter,
    FormDayFilter,
    FormFilter,
    PersonFilter,
    PushFilter,
    SpanFilter,
    held_up,
    people_context,
    people_words,
    technical,
)
from notifications.delivery import explanations
from notifications.delivery.explanations import name_run, name_runs, prepare_names
from notifications.delivery.rendering import report_data
from notifications.delivery.runs import recall, statistics
from notifications.delivery.runs.triggers import can_be_resent, find_parts, next_number, request_resend
from notifications.models import Delivery, Receipt, Run
from notifications.tasks import enqueue_runs


class ClaimedDayFilter(FormDayFilter):
    column = "claimed_at"


class ClaimedSpanFilter(SpanFilter):
    column = "claimed_at"


class StatusFilter(ChoiceFilter):
    options = Run.Status.choices


class TriggerFilter(ChoiceFilter):
    title = _("trigger")
    parameter_name = "trigger__exact"
    options = Run.Trigger.choices


class ReachedFilter(FormFilter, base.OptionFilter):
    """Runs that ended, and say whom they did not reach."""

    title = _("reached")
    parameter_name = "reached"
    options = {"not_all": (_("not everybody"), lambda runs: runs.filter(status=Run.Status.FINISHED).exclude(error=""))}


class RunCorpFilter(FormCorpFilter):
    """Runs for the company alone, and those with messages to it."""

    def matching(self, queryset: QuerySet[Any], corp_id: str) -> QuerySet[Any]:
        # Asked run by run: the newest ones are on the first page, and a union of all keys would be made whole.
        sent_there = Exists(Delivery.objects.filter(run=OuterRef("pk"), corp_id=int(corp_id)))
        return queryset.filter(Q(corp_id=int(corp_id)) | sent_there)


# The first ones of a run; the lists show them all.
DELIVERIES_SHOWN = 100


class RunList(base.LogList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = _describe(self.result_list)


def _describe(rows: Iterable[Run]) -> list[Run]:
    """Give runs their names, and why they went wrong, for all at once."""
    runs = list(rows)
    reasons, named = explanations.explain_runs(runs), name_runs(runs)
    for run in runs:
        described: Any = run
        described.reason_shown, described.plain_name = reasons[run.pk], named[run.pk]
    return runs


@admin.register(Run)
class RunAdmin(ExportedLog):
    found = staticmethod(base.runs_found)
    empty_list = _(
        "Each execution of a push stands here. The first one comes when a push is due, or with “Run now…” on its page."
    )
    list_display = (
        *("subject", "state", "slot", "trigger"),
        *("recipients", "accepted", "exceptions", "skipped", "why"),
    )
    list_filter = (
        *(ExactPushFilter, PersonFilter, PushFilter, RunCorpFilter),
        *(ClaimedDayFilter, ClaimedSpanFilter, StatusFilter, ReachedFilter, TriggerFilter),
    )
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

    def get_urls(self) -> list[URLPattern]:
        pages: dict[str, Callable[..., HttpResponse]] = {
            "resend": partial(resend_page, self),
            "recall": partial(recall_page, self),
            "state": self.state_view,
        }
        wrapped = self.admin_site.admin_view
        ours = (
            path(f"<int:pk>/{name}/", wrapped(page), name=f"notifications_run_{name}") for name, page in pages.items()
        )
        return [*ours, *super().get_urls()]

    def state_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        """The run's page as it stands now, while somebody looks at it."""
        run = find_row(request, self.get_queryset(request), pk, self.has_view_permission)
        context = self.row_context(request, run)
        parts = {"log-parts": render_to_string("admin/notifications/_log.html", context, request)}
        return JsonResponse({"html": context["progress"], "parts": parts, "is_unfinished": _is_under_way(run)})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    @admin.display(description=_("name"))
    def subject(self, run: Run) -> str:
        return str(run.plain_name)  # type: ignore[attr-defined]  # set by RunList

    @admin.display(description=_("due"), ordering="slot_at")
    def slot(self, run: Run) -> str:
        return moment(run.slot_at)

    @admin.display(description=_("status"))
    def state(self, run: Run) -> SafeString:
        return run_pill(run)

    @admin.display(description=_("reason"))
    def why(self, run: Run) -> str:
        """Why it was missed, or failed, or whom it did not reach."""
        return str(run.reason_shown)  # type: ignore[attr-defined]  # set by RunList

    @admin.display(description=_("recipients"))
    def recipients(self, run: Run) -> int | str:
        return run_people(run)[0]

    @admin.display(description=_("skipped"))
    def skipped(self, run: Run) -> int | str:
        return run_people(run)[1]

    @admin.display(description=_("accepted"))
    def accepted(self, run: Run) -> int:
        return int(run.accepted_total)  # type: ignore[attr-defined]  # annotated in get_queryset

    @admin.display(description=_("not accepted"))
    def exceptions(self, run: Run) -> int:
        """People who were sent to and did not get it, or of whom nobody knows; those who still wait do not count."""
        waiting: int = run.waiting_total  # type: ignore[attr-defined]  # annotated in get_queryset
        return run.recipient_count - self.accepted(run) - waiting

    def csv_titles(self) -> list[str]:
        words = [gettext("name"), gettext("trigger"), gettext("due"), gettext("ended"), gettext("status")]
        counts = [gettext("recipients"), gettext("accepted"), gettext("not accepted"), gettext("skipped")]
        return [*words, *counts, gettext("reason")]

    def csv_lines(self, rows: list[Run]) -> Iterator[list[str]]:
        for run in _describe(rows):
            found, skipped = run_people(run)
            counts = (found, self.accepted(run), self.exceptions(run), skipped)
            times = plain_moment(run.slot_at), plain_moment(run.finished_at)
            words = [self.subject(run), run.get_trigger_display(), *times, run_state(run)]
            yield [*words, *map(str, counts), self.why(run)]

    def row_context(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        deliveries = run.deliveries.filter(pk__in=Delivery.objects.visible_to(request.user))
        listed = deliveries.select_related("corp").defer("body").order_by("pk")[:DELIVERIES_SHOWN]
        return {
            "title": name_run(run),
            "subtitle": None,
            "run": run,
            "facts": _list_facts(request, run),
            "is_under_way": _is_under_way(run),
            "progress": _word_progress(run),
            "technical": technical(
                [
                    (gettext("number"), run.pk),
                    (pgettext("run", "key"), run.key),
                    (gettext("claimed"), plain_moment(run.claimed_at)),
                    (gettext("rendered"), plain_moment(run.rendered_at)),
                    (gettext("ended"), plain_moment(run.finished_at)),
                ]
            ),
            "deliveries": [(one, pill(one.status, one.get_status_display())) for one in listed],
            "states": _count_states(run, deliveries),
            "reasons": _count_reasons(request, run),
            "failures": explanations.explain_deliveries(deliveries),
            "held_up": held_up(request, deliveries),
            **people_context(request, run=run.pk),
            **log.run_actions(request, run),
        }


def _is_under_way(run: Run) -> bool:
    return run.status in {Run.Status.WAITING, Run.Status.SENDING}


def _word_progress(run: Run) -> str:
    """Say how far the run is, in one line."""
    if run.status == Run.Status.WAITING:
        problem = report_data.problem_so_far(run)
        if problem is not None:
            return gettext("%(problem)s It is tried again by itself.") % {"problem": problem}
        return gettext("It is being made: data and people are being fetched. The outcome appears here by itself.")
    if run.status != Run.Status.SENDING:
        return run_state(run)
    counts = {"settled": statistics.of_run(run.pk).settled, "count": run.recipient_count}
    return gettext("Sending: %(settled)d of %(count)d settled. The outcome appears here by itself.") % counts


def _list_facts(request: HttpRequest, run: Run) -> list[tuple[Any, Any]]:
    facts: list[tuple[Any, Any]] = [
        (_("status"), run_pill(run)),
        (_("trigger"), run.get_trigger_display()),
        (_("due"), moment(run.slot_at)),
        *([] if run.due_at is None else [(_("begins"), moment(run.due_at))]),
        (_("ended"), moment(run.finished_at)),
        *([] if run.rendered_at is None else _list_counts(run)),
    ]
    if run.subscription is not None and request.user.has_perm("notifications.view_subscription"):
        url = reverse("admin:notifications_subscription_change", args=[run.subscription.pk])
        facts.append((_("push"), format_html('<a href="{}">{}</a>', url, run.subscription)))
    if run.requested_by is not None:
        facts.append((_("requested by"), run.requested_by))
    if run.slot_count > 1:
        facts.append((_("times of the schedule"), run.slot_count))
    if run.message is not None and request.user.has_perm("notifications.view_incomingmessage"):
        url = reverse("admin:notifications_incomingmessage_change", args=[run.message.pk])
        facts.append((_("incoming message"), format_html('<a href="{}">{}</a>', url, run.message.title)))
    if run.api_token is not None:
        facts.append((_("API token"), run.api_token))
    if run.resends is not None:
        url = reverse("admin:notifications_run_change", args=[run.resends.pk])
        facts.append((_("sends again"), format_html('<a href="{}">{}</a>', url, moment(run.resends.slot_at))))
    if run.owner_notified_at is not None:
        facts.append((_("owner notified"), _link_owner_notice(run)))
    if run.recall_requested_at is not None:
        facts.append(
            (_("taken back"), format_html("{} {}", moment(run.recall_requested_at), run.recall_requested_by or ""))
        )
    if run.rendered_at is not None and (unknown := report_data.unknown_values(run)):
        facts.append((_("values that do not fit"), ", ".join(f"{name}: {count}" for name, count in unknown.items())))
    return [*facts, (_("error"), explanations.explain_runs([run])[run.pk])] if run.error else facts


def _list_counts(run: Run) -> list[tuple[Any, Any]]:
    """Count people, and what became of them; beside the accepted only what there is."""
    counts = statistics.of_run(run.pk)
    known = (_("recipients"), run.recipient_count), (_("skipped"), run.skipped_count), (_("accepted"), counts.accepted)
    rest = [
        (_("refused or canceled"), counts.refused),
        (_("outcome unknown"), counts.unknown),
        (_("waiting"), counts.waiting),
    ]
    return [*known, *(fact for fact in rest if fact[1])]


def _link_owner_notice(run: Run) -> str:
    if run.owner_notice_id is None:
        return gettext("nobody: it has no owner, was paused or taken back")
    url = reverse("admin:notifications_run_change", args=[run.owner_notice_id])
    return format_html('<a href="{}">{}</a>', url, moment(run.owner_notified_at))


def _count_states(run: Run, deliveries: QuerySet[Delivery]) -> list[tuple[SafeString, int, str]]:
    """Count the run's deliveries by status, each with the address of their list."""
    counted = dict(deliveries.order_by().values_list("status").annotate(Count("pk")))
    url = reverse("admin:notifications_delivery_changelist")
    return [
        (pill(status, status.label), counted[status], f"{url}?run__id__exact={run.pk}&status__exact={status}")
        for status in Delivery.Status
        if status in counted
    ]


def _count_reasons(request: HttpRequest, run: Run) -> list[tuple[str, int]]:
    """Count the people who were skipped by reason."""
    skipped = Receipt.objects.visible_to(request.user).filter(run=run, status=Receipt.Status.SKIPPED)
    counted = skipped.order_by().values_list("reason").annotate(Count("pk"))
    return [(str(Receipt.Reason(reason).label), count) for reason, count in counted]


def resend_page(model_admin: RunAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """First a page that says to how many, then the run. The same page sent twice sends once."""
    run = _find_run(request, pk)
    if not can_be_resent(run):
        raise PermissionDenied
    number = request.POST.get("number", "")
    if request.method == "POST" and number.isascii() and number.isdigit() and len(number) < 6:
        with_unknown = request.POST.get("with_unknown") == "on"
        person = administrator(request)
        again, is_new = request_resend(
            run, number=int(number), with_unknown=with_unknown, person=person, now=database_now()
        )
        if is_new:
            enqueue_runs([one.pk for one in again])
            messages.success(request, gettext("It is being sent. This page shows the outcome."))
        else:
            messages.info(request, gettext("This was asked for already; it is sent once."))
        return _lead_to(request, again[0] if again else run)
    parts = find_parts(run)
    count = _count_people([Receipt.objects.unreached(part) for part in parts])
    unknown_count = _count_people([Receipt.objects.unknown(part) for part in parts])
    context = {
        "title": gettext("Send again to those not reached"),
        "run": run,
        "run_name": name_run(run),
        "lines": [*_of_message(run), people_words(count) if count else gettext("Nobody is known not to have got it.")],
        "unknown_count": unknown_count,
        "number": next_number(run),
        "button": gettext("Send again") if count or unknown_count else "",
    }
    return own_page(model_admin, request, "admin/notifications/run_action.html", context)


def recall_page(model_admin: RunAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """First a page that says what it does, then the recall."""
    run = _find_run(request, pk)
    if request.method == "POST":
        if recall.request_recall(run, person=administrator(request), now=database_now()):
            messages.success(request, gettext("What waited is canceled; the rest is being taken back from WeCom."))
        else:
            messages.info(request, gettext("This was asked for already."))
        return _lead_to(request, run)
    context = {
        "title": gettext("Take back"),
        "run": run,
        "run_name": name_run(run),
        "lines": [
            *_of_message(run),
            gettext("Messages that wait are not sent. Messages of the last 24 hours disappear from people's WeCom."),
            gettext("Whoever has read one has read it; group robots' messages and mails stay."),
        ],
        "button": gettext("Take back"),
    }
    return own_page(model_admin, request, "admin/notifications/run_action.html", context)


def _find_run(request: HttpRequest, pk: int) -> Run:
    """Find a visible run whose orders the administrator may change, or 404 or 403."""
    runs = Run.objects.visible_to(request.user).select_related("subscription__report")
    run: Run = find_row(request, runs, pk, lambda request, _run: request.user.has_perm(MAY))
    return run


def _of_message(run: Run) -> list[str]:
    return [] if run.message_id is None else [gettext("The message and all files that came with it.")]


def _count_people(found: list[QuerySet[Receipt]]) -> int:
    """How many; of several parts of a message each person once."""
    if len(found) == 1:
        return found[0].count()
    return len({user_id for receipts in found for user_id in receipts.values_list("user", flat=True)})


def _lead_to(request: HttpRequest, run: Run) -> HttpResponse:
    """Lead to the run's page; of an incoming message to the page that shows all its runs, for who may see it."""
    if run.message_id is not None and request.user.has_perm("notifications.view_incomingmessage"):
        return HttpResponseRedirect(reverse("admin:notifications_incomingmessage_change", args=[run.message_id]))
    return HttpResponseRedirect(reverse("admin:notifications_run_change", args=[run.pk]))
