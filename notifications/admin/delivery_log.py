"""The delivery log: runs, deliveries with their attempts, receipts. Read-only."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, Count, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from integrations.clients.explanations import Explanation
from notifications import sentences
from notifications.admin import base, receipts_export, run_actions
from notifications.admin.base import CorpFilter, DayFilter, ReadOnlyAdmin, administrator, moment, pill, run_pill
from notifications.delivery import failures
from notifications.delivery.attachments.spreadsheets import file_name
from notifications.delivery.rendering import run_errors
from notifications.delivery.rendering.previews import Preview, shown
from notifications.delivery.runs import statistics
from notifications.delivery.sending import circuit_breaker
from notifications.delivery.sending.circuit_breaker import CORP_SECRETS
from notifications.models import Delivery, Medium, MessageForm, Receipt, Run
from notifications.subscriptions.recipients import SET_ON_PERSON
from notifications.views.media import picture_answer

if TYPE_CHECKING:
    from notifications.models.receipts import ReceiptQuerySet


class ClaimedDayFilter(DayFilter):
    column = "claimed_at"


class RunDayFilter(DayFilter):
    column = "run__claimed_at"


class ReachedFilter(admin.SimpleListFilter):
    """Runs that ended, and say whom they did not reach."""

    title = _("reached")
    parameter_name = "reached"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("not_all", _("not everybody"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(status=Run.Status.FINISHED).exclude(error="") if self.value() == "not_all" else queryset


class ReceiptStatusFilter(admin.SimpleListFilter):
    """What became of it for the person: its own status, else its delivery's."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*Receipt.Status.choices, (Delivery.Status.PENDING.value, Delivery.Status.PENDING.label)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None or value not in {choice for choice, _label in self.lookup_choices}:
            return queryset
        return cast("ReceiptQuerySet", queryset).with_status(value)  # the admin filters its own rows only


class RunList(ChangeList):
    """With why runs went wrong, for all its rows at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        runs = list(self.result_list)
        reasons = run_errors.shown(runs)
        for run in runs:
            run.reason_shown = reasons[run.pk]
        self.result_list = runs


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    empty_list = _(
        "Each execution of a subscription stands here. The first one comes when a subscription is due, or "
        "with “Run now…” on its page."
    )
    change_form_template = "admin/notifications/log_page.html"
    list_display = (
        *("subject", "trigger", "slot", "state"),
        *("recipient_count", "accepted", "exceptions", "skipped_count", "why"),
    )
    list_filter = ("status", ReachedFilter, "trigger", ClaimedDayFilter)
    list_select_related = ("subscription", "requested_by")
    search_fields = ("key",)
    search_help_text = _("Name of a subscription")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        deliveries = Delivery.objects.filter(run=OuterRef("pk")).order_by().values("run")
        fine = deliveries.filter(status=Delivery.Status.ACCEPTED)
        accepted = fine.annotate(total=Sum("recipient_count") - Sum("invalid_count") - Sum("unlicensed_count"))
        unsettled = deliveries.filter(status__in=Delivery.UNSETTLED).annotate(total=Sum("recipient_count"))
        return Run.objects.visible_to(request.user).annotate(
            accepted_total=Coalesce(Subquery(accepted.values("total")), 0),
            waiting_total=Coalesce(Subquery(unsettled.values("total")), 0),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        return base.runs_found(queryset, words, seen_by=administrator(request)), False

    def get_urls(self) -> list[URLPattern]:
        pages = {"resend": run_actions.resend_page, "recall": run_actions.recall_page}
        return [
            *(
                path(
                    f"<int:pk>/{name}/",
                    self.admin_site.admin_view(partial(page, site=self.admin_site)),
                    name=f"notifications_run_{name}",
                )
                for name, page in pages.items()
            ),
            *super().get_urls(),
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    @admin.display(description=_("subscription"))
    def subject(self, run: Run) -> str:
        """A notice has its reader instead."""
        if run.trigger == Run.Trigger.NOTICE:
            return str(run.requested_by or run.key)
        return run.subscription.name if run.subscription else run.key

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

    @admin.display(description=_("accepted"))
    def accepted(self, run: Run) -> int:
        return int(run.accepted_total)  # type: ignore[attr-defined]  # annotated in get_queryset

    @admin.display(description=_("not accepted"))
    def exceptions(self, run: Run) -> int:
        """People who were sent to and did not get it, or of whom nobody knows; those who still wait do not count."""
        waiting: int = run.waiting_total  # type: ignore[attr-defined]  # annotated in get_queryset
        return run.recipient_count - self.accepted(run) - waiting

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        run = self.get_object(request, unquote(object_id))
        extra = {**(extra_context or {})}
        if run is not None:
            deliveries = run.deliveries.filter(pk__in=Delivery.objects.visible_to(request.user))
            extra |= {
                "run": run,
                "facts": _run_facts(run),
                "deliveries": deliveries.select_related("corp").defer("body").order_by("pk")[:DELIVERIES_SHOWN],
                "states": _states(run, deliveries),
                "receipts_url": _receipts_url(run__id__exact=run.pk),
                "reasons": _reasons(request, run),
                "failures": failures.of_run(deliveries),
                "held_up": _held_up(request, deliveries),
                **run_actions.possible(request, run),
            }
        return super().change_view(request, object_id, form_url, extra)


def _run_facts(run: Run) -> list[tuple[Any, Any]]:
    facts: list[tuple[Any, Any]] = [
        (_("status"), run_pill(run)),
        (_("trigger"), run.get_trigger_display()),
        (_("requested by"), run.requested_by or "—"),
        (_("key"), run.key),
        (_("due"), moment(run.slot_at)),
        *([] if run.due_at is None else [(_("begins"), moment(run.due_at))]),
        (_("times of the schedule"), run.slot_count),
        (_("claimed"), moment(run.claimed_at)),
        (_("rendered"), moment(run.rendered_at)),
        (_("ended"), moment(run.finished_at)),
        (_("recipients"), run.recipient_count),
        (_("skipped"), run.skipped_count),
        *_people(statistics.of_run(run.pk)),
    ]
    if run.api_token is not None:
        facts.append((_("API token"), run.api_token))
    if run.resends_id is not None:
        facts.append((_("sends again"), run.resends))
    if run.owner_told_at is not None:
        facts.append((_("owner told"), _told(run)))
    if run.recall_asked_at is not None:
        facts.append((_("taken back"), format_html("{} {}", moment(run.recall_asked_at), run.recall_asked_by or "")))
    return [*facts, (_("error"), run_errors.shown([run])[run.pk])] if run.error else facts


def _held_up(request: HttpRequest, deliveries: QuerySet[Delivery]) -> list[str]:
    """Of the companies for which some of these deliveries wait."""
    waiting = deliveries.filter(pk__in=Delivery.objects.unsettled()).order_by().values_list("corp", flat=True)
    return circuit_breaker.held_up(set(waiting.distinct()), seen_by=request.user, now=timezone.now())


def _failures(failure: Explanation | None) -> list[tuple[Explanation, int]]:
    """As of_run gives them. 0: about one person, or none."""
    return [] if failure is None else [(failure, 0)]


def _people(counts: statistics.Counts) -> list[tuple[Any, Any]]:
    """What became of the recipients; beside the accepted only what there is."""
    rest = [
        (_("refused or canceled"), counts.refused),
        (_("outcome unknown"), counts.unknown),
        (_("waiting"), counts.waiting),
    ]
    return [(_("accepted"), counts.accepted), *(fact for fact in rest if fact[1])]


def _states(run: Run, deliveries: QuerySet[Delivery]) -> list[tuple[SafeString, int, str]]:
    """How many of its deliveries stand how, and where to see them all."""
    counted = dict(deliveries.order_by().values_list("status").annotate(Count("pk")))
    url = reverse("admin:notifications_delivery_changelist")
    return [
        (pill(status, status.label), counted[status], f"{url}?run__id__exact={run.pk}&status__exact={status}")
        for status in Delivery.Status
        if status in counted
    ]


def _told(run: Run) -> str:
    """When, and the way to the notice."""
    if run.owner_notice_id is None:
        return gettext("nobody: it has no owner, was paused or taken back")
    url = reverse("admin:notifications_run_change", args=[run.owner_notice_id])
    return format_html('<a href="{}">{}</a>', url, moment(run.owner_told_at))


def _reasons(request: HttpRequest, run: Run) -> list[tuple[str, int]]:
    """Why people were skipped, and how many for each reason."""
    skipped = Receipt.objects.visible_to(request.user).filter(run=run, status=Receipt.Status.SKIPPED)
    counted = skipped.order_by().values_list("reason").annotate(Count("pk"))
    return [(str(Receipt.Reason(reason).label), count) for reason, count in counted]


def _receipts_url(**lookups: int) -> str:
    query = "&".join(f"{name}={value}" for name, value in lookups.items())
    return f"{reverse('admin:notifications_receipt_changelist')}?{query}"


# The first ones of a run; the lists show them all.
DELIVERIES_SHOWN = 100


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    empty_list = _(
        "Each message that is handed to WeCom stands here, with its recipients. The first one comes with the "
        "first run of a subscription."
    )
    change_form_template = "admin/notifications/log_page.html"
    list_display = (
        "title",
        "corp_name",
        "state",
        "recipient_count",
        "accepted",
        "exceptions",
        "tries",
        "created",
        "settled",
    )
    list_filter = ("status", CorpFilter, DayFilter)
    search_fields = ("mark",)
    search_help_text = _("Person (name, username, WeCom account), title, or the address of a message")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        seen = Delivery.objects.visible_to(request.user).select_related("corp", "run__subscription")
        return seen.defer("body", "plain_body", "text", *CORP_SECRETS)

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.picture_view)
        return [path("<int:pk>/picture.svg", page, name="notifications_delivery_picture"), *super().get_urls()]

    def picture_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The picture that a message carries."""
        delivery = self.get_object(request, str(pk))
        if delivery is None or not self.has_view_permission(request, delivery):
            raise PermissionDenied
        return picture_answer(delivery.medium)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        return base.deliveries_found(queryset, words, seen_by=administrator(request)), False

    @admin.display(description=_("company"))
    def corp_name(self, delivery: Delivery) -> str:
        return delivery.corp.name

    @admin.display(description=_("status"))
    def state(self, delivery: Delivery) -> SafeString:
        return pill(delivery.status, delivery.get_status_display())

    @admin.display(description=_("accepted"))
    def accepted(self, delivery: Delivery) -> int:
        return delivery.accepted_count

    @admin.display(description=_("invalid accounts"))
    def exceptions(self, delivery: Delivery) -> int:
        return delivery.invalid_count + delivery.unlicensed_count

    @admin.display(description=_("attempts"))
    def tries(self, delivery: Delivery) -> int:
        return delivery.attempt_count

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, delivery: Delivery) -> str:
        return moment(delivery.created_at)

    @admin.display(description=_("settled"))
    def settled(self, delivery: Delivery) -> str:
        return moment(delivery.settled_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        delivery = self.get_object(request, unquote(object_id))
        extra = {**(extra_context or {})}
        if delivery is not None:
            extra |= {
                "delivery": delivery,
                "facts": _delivery_facts(delivery),
                "attempts": delivery.attempts.order_by("number"),
                "preview": _look(delivery),
                "receipts_url": _receipts_url(delivery__id__exact=delivery.pk),
                "failures": _failures(failures.of_delivery(delivery)),
                "held_up": _held_up(request, Delivery.objects.filter(pk=delivery.pk)),
            }
        return super().change_view(request, object_id, form_url, extra)


def _look(delivery: Delivery) -> Preview:
    """As it was, or will be, sent."""
    medium = delivery.medium
    is_drawn = medium is not None and medium.kind == Medium.Kind.PICTURE and medium.status == Medium.Status.READY
    picture = reverse("admin:notifications_delivery_picture", args=[delivery.pk]) if is_drawn else ""
    extension = delivery.message_form if delivery.message_form in {MessageForm.XLSX, MessageForm.CSV} else "png"
    name = file_name(delivery.title, delivery.created_at, extension)
    return shown(bytes(delivery.body), text=delivery.text, picture=picture, file_name=name)


def _delivery_facts(delivery: Delivery) -> list[tuple[Any, Any]]:
    status = pill(delivery.status, delivery.get_status_display())
    if delivery.is_accepted_on_repeat:
        status = format_html("{} {}", status, _("on repeat: the answer may lack invalid accounts"))
    run_url = reverse("admin:notifications_run_change", args=[delivery.run_id])
    facts = [
        (_("status"), status),
        (_("run"), format_html('<a href="{}">{}</a>', run_url, delivery.run)),
        (_("company"), delivery.corp.name),
        ("CorpId / AgentId", f"{delivery.corpid} / {delivery.agentid}"),
        (_("channel"), _channel(delivery)),
        (_("message form"), delivery.get_message_form_display()),
        (_("recipients"), delivery.recipient_count),
        (_("accepted"), delivery.accepted_count),
        (_("invalid"), delivery.invalid_count),
        (_("unlicensed"), delivery.unlicensed_count),
        ("msgid", delivery.msgid or "—"),
        (_("mark"), delivery.mark),
        (_("due"), moment(delivery.run.due_at or delivery.run.slot_at)),
        (_("claimed"), moment(delivery.run.claimed_at)),
        (_("created"), moment(delivery.created_at)),
        (_("settled"), moment(delivery.settled_at)),
        (_("worthless after"), moment(delivery.expires_at)),
    ]
    if delivery.status in {Delivery.Status.PREPARING, Delivery.Status.PENDING}:
        facts.append((_("next attempt"), moment(delivery.next_attempt_at)))
    if delivery.unclear_since is not None:
        facts.append((_("unclear since"), moment(delivery.unclear_since)))
    if delivery.recalled_at is not None:
        facts.append((_("taken back"), moment(delivery.recalled_at)))
    if delivery.recall_error:
        facts.append((_("why it was not taken back"), delivery.recall_error))
    # Of one that was accepted, what WeCom remarked.
    is_remark = delivery.error and delivery.status == Delivery.Status.ACCEPTED
    return [*facts, (_("error"), sentences.shown(delivery.error))] if is_remark else facts


def _channel(delivery: Delivery) -> str:
    name = delivery.get_channel_display()
    return f"{name} / {delivery.robot}" if delivery.robot is not None else name


@admin.register(Receipt)
class ReceiptAdmin(ReadOnlyAdmin):
    empty_list = _(
        "For each person what became of each message stands here. The first receipts come with the first run "
        "of a subscription."
    )
    change_form_template = "admin/notifications/log_page.html"
    change_list_template = "admin/notifications/receipt/change_list.html"
    list_display = ("person", "company_and_account", "state", "why", "message", "due", "read")
    list_filter = (ReceiptStatusFilter, RunDayFilter)
    search_fields = ("address",)
    search_help_text = _("Person (name, username, WeCom account), or the address of a message")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        seen = Receipt.objects.visible_to(request.user).select_related("user", "delivery__corp", "run__subscription")
        may_open_people = Value(request.user.has_perm("accounts.view_user"), output_field=BooleanField())
        seen = seen.annotate(may_open_people=may_open_people)
        return seen.defer("delivery__body", "delivery__text", *(f"delivery__{name}" for name in CORP_SECRETS))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """The pages of a run and of a delivery link here."""
        wanted = lookup in {"run__id__exact", "delivery__id__exact"}
        return wanted or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]  # django-stubs forbids None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        return base.receipts_found(queryset, words, seen_by=administrator(request)), False

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.csv_view)
        return [path("csv/", page, name="notifications_receipt_csv"), *super().get_urls()]

    def csv_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """The rows of the list under the filters of its address."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_changelist_instance(request).get_queryset(request)
        return receipts_export.answer(found, account=self.company_and_account)

    @admin.display(description=_("user"))
    def person(self, receipt: Receipt) -> str:
        return str(receipt.user or receipt.address)

    @admin.display(description=_("WeCom account"))
    def company_and_account(self, receipt: Receipt) -> str:
        if receipt.delivery is None:
            return "—"
        return f"{receipt.delivery.corp.name} / {receipt.address.partition(':')[2]}"

    @admin.display(description=_("status"))
    def state(self, receipt: Receipt) -> SafeString:
        if receipt.status or receipt.delivery is None:
            return pill(receipt.status, receipt.get_status_display())
        return pill(receipt.delivery.status, receipt.delivery.get_status_display())

    @admin.display(description=_("reason"))
    def why(self, receipt: Receipt) -> str:
        """With the way to the person's page, where it can be put right there."""
        if receipt.reason in SET_ON_PERSON and receipt.user_id and getattr(receipt, "may_open_people", False):
            url = reverse("admin:accounts_user_change", args=[receipt.user_id])
            return format_html('<a href="{}">{}</a>', url, receipt.get_reason_display())
        if receipt.reason:
            return receipt.get_reason_display()
        said = failures.explanation_of_receipt(receipt)
        return "" if said is None else said.what

    @admin.display(description=_("message"))
    def message(self, receipt: Receipt) -> SafeString:
        if receipt.delivery is None:
            url = reverse("admin:notifications_run_change", args=[receipt.run_id])
            return format_html('<a href="{}">{}</a>', url, receipt.run)
        url = reverse("admin:notifications_delivery_change", args=[receipt.delivery_id])
        return format_html('<a href="{}">{}</a>', url, receipt.delivery.title)

    @admin.display(description=_("due"))
    def due(self, receipt: Receipt) -> str:
        return moment(receipt.run.slot_at)

    @admin.display(description=_("read"))
    def read(self, receipt: Receipt) -> str:
        return moment(receipt.read_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        receipt = self.get_object(request, unquote(object_id))
        extra = {**(extra_context or {})}
        if receipt is not None:
            extra["facts"] = [
                (_("user"), self.person(receipt)),
                (_("WeCom account"), self.company_and_account(receipt)),
                (_("status"), self.state(receipt)),
                (_("reason"), self.why(receipt) or "—"),
                (_("message"), self.message(receipt)),
                (_("due"), self.due(receipt)),
                *_times(receipt),
                (_("read"), self.read(receipt)),
            ]
            extra["failures"] = _failures(failures.of_receipt(receipt))
            extra["held_up"] = _held_up(request, Delivery.objects.filter(pk=receipt.delivery_id))
        return super().change_view(request, object_id, form_url, extra)


def _times(receipt: Receipt) -> list[tuple[Any, Any]]:
    """When its run was claimed and rendered, and when it was sent and answered, by which attempt."""
    run, delivery = receipt.run, receipt.delivery
    times: list[tuple[Any, Any]] = [(_("claimed"), moment(run.claimed_at)), (_("rendered"), moment(run.rendered_at))]
    last = delivery.attempts.last() if delivery is not None else None
    if last is None:
        return times
    return [
        *times,
        (_("sent"), moment(last.started_at)),
        (_("answered"), moment(last.finished_at)),
        (_("attempt"), str(last)),
    ]
