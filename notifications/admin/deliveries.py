"""The log of deliveries: each message as it was sent, with its attempts. Read-only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, QuerySet, Value
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from integrations.admin.base import own_page
from integrations.core import sentences
from integrations.core.background import database_now
from notifications.admin import base, log
from notifications.admin.base import administrator, moment, pill, plain_moment
from notifications.admin.log import (
    MAY,
    ChoiceFilter,
    ExactDeliveryFilter,
    ExactPersonFilter,
    ExactRunFilter,
    ExportedLog,
    FormCorpFilter,
    FormDayFilter,
    FormFilter,
    PersonFilter,
    PushFilter,
    SpanFilter,
    held_up,
    link,
    people_context,
    people_words,
    step_to_delivery,
    step_to_run,
    technical,
)
from notifications.delivery import explanations
from notifications.delivery.explanations import name_runs, prepare_names
from notifications.delivery.rendering.preview import PhoneMessage, read_message
from notifications.delivery.runs import recall
from notifications.delivery.runs.triggers import next_number, refuse_resend, request_resend, resend_key
from notifications.delivery.sending.queue import CORP_SECRETS
from notifications.models import Delivery, MakerQueue, Medium, Receipt, Run
from notifications.subscriptions.recipients import SET_ON_PERSON
from notifications.tasks import enqueue_runs
from notifications.views.media import made_answer

if TYPE_CHECKING:
    from notifications.models.deliveries import ReceiptQuerySet


class StatusFilter(ChoiceFilter):
    options = Delivery.Status.choices


@admin.register(Delivery)
class DeliveryAdmin(ExportedLog):
    found = staticmethod(base.deliveries_found)
    empty_list = _(
        "Each message that is handed to WeCom stands here, with its recipients. The first one comes with the "
        "first run of a push."
    )
    list_display = (
        *("title", "corp_name", "state", "recipient_count"),
        *("accepted", "exceptions", "tries", "created", "settled"),
    )
    sortable_by = ("title", "created")
    list_filter = (
        *(ExactRunFilter, PersonFilter, PushFilter, FormCorpFilter),
        *(FormDayFilter, SpanFilter, StatusFilter),
    )
    actions = ("resend", "recall")
    search_fields = ("mark",)
    search_help_text = _("Person (name, username, WeCom account), title, or the address of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        seen = prepare_names(Delivery.objects.visible_to(request.user), path="run__").select_related("corp")
        return seen.defer("body", "plain_body", "text", *CORP_SECRETS)

    def get_urls(self) -> list[URLPattern]:
        wrapped = self.admin_site.admin_view
        resend, recall = wrapped(partial(resend_page, self)), wrapped(partial(recall_page, self))
        return [
            path("<int:pk>/picture.svg", wrapped(self.picture_view), name="notifications_delivery_picture"),
            path("resend/<str:keys>/", resend, name="notifications_delivery_resend"),
            path("recall/<str:keys>/", recall, name="notifications_delivery_recall"),
            *super().get_urls(),
        ]

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY)

    @admin.action(description=_("Send again to those not reached"), permissions=["resend"])
    def resend(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        return self._ask_first(request, "resend", chosen)

    @admin.action(description=_("Take back"), permissions=["resend"])
    def recall(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        return self._ask_first(request, "recall", chosen)

    def _ask_first(self, request: HttpRequest, name: str, chosen: QuerySet[Delivery]) -> HttpResponse | None:
        """Lead to the page that says what becomes of each of them; to the list where they are gone meanwhile."""
        most = MESSAGES_AT_MOST
        keys = list(chosen.order_by("-pk").values_list("pk", flat=True)[: most + 1])
        if len(keys) > most:
            text = gettext("At most %(count)d messages at once: these are the newest of those chosen.")
            self.message_user(request, text % {"count": most}, messages.WARNING)
        return HttpResponseRedirect(ask_url(name, keys[:most])) if keys else None

    def picture_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The picture that a message carries."""
        delivery = self.get_object(request, str(pk))
        if delivery is None or not self.has_view_permission(request, delivery):
            raise PermissionDenied
        medium = delivery.medium if _may_be_looked_at(delivery.medium) else None
        return made_answer(medium, medium.extension if medium is not None and medium.name else "svg")

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

    def csv_titles(self) -> list[str]:
        words = [gettext("title"), gettext("run"), gettext("company"), gettext("status")]
        counts = [gettext("recipients"), gettext("accepted"), gettext("invalid accounts"), gettext("attempts")]
        code = gettext("WeCom's error code")
        why = [gettext("reason"), gettext("Who can fix it"), gettext("Where")]
        return [*words, *counts, code, *why, gettext("created"), gettext("settled")]

    def csv_lines(self, rows: list[Delivery]) -> Iterator[list[str]]:
        named = name_runs({one.run_id: one.run for one in rows}.values())
        for one in rows:
            words = [one.title, named[one.run_id], one.corp.name, one.get_status_display()]
            counts = (one.recipient_count, one.accepted_count, self.exceptions(one), one.attempt_count)
            said = explanations.explain_delivery(one)
            why = ["", "", ""] if said is None else [said.what, said.who, said.where]
            times = plain_moment(one.created_at), plain_moment(one.settled_at)
            yield [*words, *map(str, counts), str(one.errcode or ""), *why, *times]

    def row_context(self, request: HttpRequest, delivery: Delivery) -> dict[str, Any]:
        run = step_to_run(request, delivery.run)
        return {
            "title": delivery.title,
            "subtitle": None,
            "way_back": [run],
            "delivery": delivery,
            "facts": [(_("run"), link(run)), *_delivery_facts(delivery)],
            "technical": _technical(delivery),
            "attempts": delivery.attempts.order_by("number"),
            "preview": _preview(delivery),
            # 0: about one person, or none.
            "failures": [(why, 0)] if (why := explanations.explain_delivery(delivery, with_answer=True)) else [],
            "held_up": held_up(request, Delivery.objects.filter(pk=delivery.pk)),
            **people_context(request, delivery=delivery.pk),
            **log.run_actions(request, delivery.run),
            **list_actions(request, delivery),
        }


def _may_be_looked_at(medium: Medium | None) -> bool:
    """A page of the BI as somebody sees it with their own rights is for its recipients alone."""
    return medium is not None and medium.queue != MakerQueue.SNAPSHOTS


def _preview(delivery: Delivery) -> PhoneMessage:
    """As it was, or will be, sent."""
    medium = delivery.medium
    is_drawn = medium is not None and medium.kind == Medium.Kind.PICTURE and medium.status == Medium.Status.READY
    is_drawn = is_drawn and _may_be_looked_at(medium)
    picture = reverse("admin:notifications_delivery_picture", args=[delivery.pk]) if is_drawn else ""
    return read_message(delivery, medium_name="" if medium is None else medium.name, picture=picture)


def _delivery_facts(delivery: Delivery) -> list[tuple[Any, Any]]:
    status = pill(delivery.status, delivery.get_status_display())
    if delivery.is_accepted_on_repeat:
        status = format_html("{} {}", status, _("on repeat: the answer may lack invalid accounts"))
    facts: list[tuple[Any, Any]] = [
        (_("status"), status),
        (_("company"), delivery.corp.name),
        (_("channel"), " / ".join(map(str, filter(None, (delivery.get_channel_display(), delivery.robot))))),
        (_("message form"), delivery.get_message_form_display()),
        (_("recipients"), delivery.recipient_count),
        (_("accepted"), delivery.accepted_count),
        *([(_("invalid"), delivery.invalid_count)] if delivery.invalid_count else []),
        *([(_("unlicensed"), delivery.unlicensed_count)] if delivery.unlicensed_count else []),
        (_("due"), moment(delivery.run.due_at or delivery.run.slot_at)),
        (_("settled"), moment(delivery.settled_at)),
        (_("expires after"), moment(delivery.expires_at)),
    ]
    if delivery.status in {Delivery.Status.PREPARING, Delivery.Status.PENDING}:
        facts.append((_("next attempt"), moment(delivery.next_attempt_at)))
    if delivery.unclear_since is not None:
        facts.append((_("unclear since"), moment(delivery.unclear_since)))
    if delivery.recalled_at is not None:
        facts.append((_("taken back"), moment(delivery.recalled_at)))
    elif delivery.recall_requested_at is not None:
        facts.append((_("to be taken back since"), moment(delivery.recall_requested_at)))
    if delivery.recall_error:
        facts.append((_("why it was not taken back"), delivery.recall_error))
    # Of one that was accepted, what WeCom remarked.
    is_remark = delivery.error and delivery.status == Delivery.Status.ACCEPTED
    return [*facts, (_("error"), sentences.shown(delivery.error))] if is_remark else facts


def _technical(delivery: Delivery) -> str:
    return technical(
        [
            (gettext("number"), delivery.pk),
            ("CorpId / AgentId", f"{delivery.corpid} / {delivery.agentid}"),
            ("msgid", delivery.msgid),
            (gettext("mark"), delivery.mark),
            ("errcode", delivery.errcode),
            (gettext("claimed"), plain_moment(delivery.run.claimed_at)),
            (gettext("created"), plain_moment(delivery.created_at)),
            (gettext("settled"), plain_moment(delivery.settled_at)),
        ]
    )


# What one page shows, and one press of its button does.
MESSAGES_AT_MOST = 50
_IDS = re.compile(r"[1-9][0-9]{0,17}(,[1-9][0-9]{0,17})*")


@dataclass(frozen=True)
class Line:
    """One message. `words`: what happens to it, or why nothing can. `number`: which resending of its run this is."""

    delivery: Delivery
    words: str
    is_possible: bool
    unknown_count: int = 0
    number: int = 0


def list_actions(request: HttpRequest, delivery: Delivery) -> dict[str, str]:
    """List what the person who asks may do with the message now, each with its address."""
    if not request.user.has_perm(MAY) or not Run.objects.visible_to(request.user).filter(pk=delivery.run_id).exists():
        return {}
    found = {}
    if _resend_line(delivery).is_possible:
        found["message_resend_url"] = ask_url("resend", [delivery.pk])
    if _recall_line(delivery).is_possible:
        found["message_recall_url"] = ask_url("recall", [delivery.pk])
    return found


def ask_url(name: str, keys: Sequence[int]) -> str:
    """Return the address of the page that asks before it is done to these messages."""
    return reverse(f"admin:notifications_delivery_{name}", args=[",".join(map(str, keys))])


def resend_page(model_admin: DeliveryAdmin, request: HttpRequest, keys: str) -> HttpResponse:
    """Whoever did not get one of the messages gets it by a run of its own. The same page sent twice sends once."""
    lines = [_resend_line(delivery) for delivery in _deliveries(request, keys)]
    if request.method == "POST":
        with_unknown = request.POST.get("with_unknown") == "on"
        begun = [found for line in lines if (found := _resend(request, line, with_unknown=with_unknown)) is not None]
        new = [run.pk for run, is_new in begun if is_new]
        enqueue_runs(new)
        if new:
            text = ngettext("%(count)d message is sent again.", "%(count)d messages are sent again.", len(new))
            messages.success(request, text % {"count": len(new)})
        else:
            messages.info(request, gettext("This was asked for already; it is sent once."))
        to_run = [reverse("admin:notifications_run_change", args=[run.pk]) for run, _is_new in begun]
        to_list = reverse("admin:notifications_delivery_changelist")
        return HttpResponseRedirect(to_run[0] if len(to_run) == 1 else to_list)
    context = {
        "title": gettext("Send again to those not reached"),
        "unknown_count": sum(line.unknown_count for line in lines),
        "button": gettext("Send again"),
    }
    return _show_lines(model_admin, request, lines, context)


def recall_page(model_admin: DeliveryAdmin, request: HttpRequest, keys: str) -> HttpResponse:
    """Each message that waits is canceled; each that WeCom accepted lately is taken back."""
    lines = [_recall_line(delivery) for delivery in _deliveries(request, keys)]
    if request.method == "POST":
        now = database_now()
        done = [line for line in lines if line.is_possible and recall.request_message_recall(line.delivery, now=now)]
        if done:
            text = ngettext("%(count)d message is taken back.", "%(count)d messages are taken back.", len(done))
            messages.success(request, text % {"count": len(done)})
        for line in lines:
            if line not in done:
                why = gettext("This was asked for already.") if line.is_possible else line.words
                messages.warning(request, f"{line.delivery.title}: {why}")
        return HttpResponseRedirect(_address_back(lines))
    context = {
        "title": gettext("Take back"),
        "note": gettext("Whoever has read one has read it; group robots' messages and mails stay."),
        "button": gettext("Take back"),
    }
    return _show_lines(model_admin, request, lines, context)


def _deliveries(request: HttpRequest, keys: str) -> list[Delivery]:
    """Visible messages of visible runs that the administrator may change, at most MESSAGES_AT_MOST; or 404 or 403."""
    if not _IDS.fullmatch(keys):
        raise Http404
    wanted = {int(key) for key in keys.split(",")[:MESSAGES_AT_MOST]}
    seen = Delivery.objects.visible_to(request.user).filter(run__in=Run.objects.visible_to(request.user), pk__in=wanted)
    found = seen.select_related("corp", "run__subscription__report").defer("body", "plain_body", "text")
    deliveries = list(found.order_by("-pk"))
    if len(deliveries) != len(wanted):
        raise Http404
    if not request.user.has_perm(MAY):
        raise PermissionDenied
    return deliveries


def _resend_line(delivery: Delivery) -> Line:
    refusal = refuse_resend(delivery)
    if refusal is not None:
        return Line(delivery, str(refusal), is_possible=False)
    run, mark = delivery.run, delivery.mark
    count = Receipt.objects.unreached(run, mark=mark).count()
    unknown_count = Receipt.objects.unknown(run, mark=mark).count()
    words = people_words(count) if count else gettext("Nobody is known not to have got it.")
    is_possible = bool(count or unknown_count)
    return Line(delivery, words, is_possible, unknown_count, next_number(run))


def _resend(request: HttpRequest, line: Line, *, with_unknown: bool) -> tuple[Run, bool] | None:
    number = request.POST.get(f"number-{line.delivery.pk}", "")
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        return None
    known = Run.objects.filter(key=resend_key(line.delivery.run, int(number), line.delivery)).first()
    if known is not None:
        return known, False
    if not line.is_possible:
        return None
    runs, is_new = request_resend(
        line.delivery.run,
        delivery=line.delivery,
        number=int(number),
        with_unknown=with_unknown,
        person=administrator(request),
        now=database_now(),
    )
    return runs[0], is_new


def _recall_line(delivery: Delivery) -> Line:
    refusal = recall.message_refusal(delivery, now=database_now())
    if refusal is not None:
        return Line(delivery, str(refusal), is_possible=False)
    if delivery.status == Delivery.Status.ACCEPTED:
        return Line(delivery, gettext("It disappears from people's WeCom."), is_possible=True)
    return Line(delivery, gettext("It is not sent, or taken back once WeCom has accepted it."), is_possible=True)


def _address_back(lines: list[Line]) -> str:
    """Return the address of the only message's page; of several that of their list."""
    if len(lines) == 1:
        return reverse("admin:notifications_delivery_change", args=[lines[0].delivery.pk])
    return reverse("admin:notifications_delivery_changelist")


def _show_lines(
    model_admin: DeliveryAdmin, request: HttpRequest, lines: list[Line], context: dict[str, Any]
) -> HttpResponse:
    if not any(line.is_possible for line in lines):
        context["button"] = ""
    context |= {"lines": lines, "back": _address_back(lines)}
    return own_page(model_admin, request, "admin/notifications/message_action.html", context)


class RunDayFilter(FormDayFilter):
    column = "run__claimed_at"


class RunSpanFilter(SpanFilter):
    column = "run__claimed_at"


class MessageCorpFilter(FormCorpFilter):
    """Of messages to the company; who was skipped has none."""

    def matching(self, queryset: QuerySet[Any], corp_id: str) -> QuerySet[Any]:
        return queryset.filter(delivery__corp=corp_id)


class ReceiptStatusFilter(FormFilter):
    """What became of it for the person: its own status, else its delivery's."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(log.LABELS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.text not in log.LABELS:
            return queryset
        return cast("ReceiptQuerySet", queryset).with_status(self.text)  # the admin filters its own rows only


class ReceiptList(base.LogList):
    """With the names of the runs of which people got no message, for all its rows at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        receipts = list(self.result_list)
        named = name_runs({one.run_id: one.run for one in receipts if one.delivery_id is None}.values())
        for receipt in receipts:
            receipt.run_name = named.get(receipt.run_id, "")
        self.result_list = receipts


@admin.register(Receipt)
class ReceiptAdmin(ExportedLog):
    found = staticmethod(base.receipts_found)
    empty_list = _(
        "For each person what became of each message stands here. The first receipts come with the first run of a push."
    )
    list_display = ("person", "company_and_account", "state", "why", "message", "due", "read")
    list_filter = (
        *(ExactRunFilter, ExactDeliveryFilter, ExactPersonFilter, PersonFilter, PushFilter, MessageCorpFilter),
        *(RunDayFilter, RunSpanFilter, ReceiptStatusFilter),
    )
    search_fields = ("address",)
    search_help_text = _("Person (name, username, WeCom account), or the address of a message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        seen = prepare_names(Receipt.objects.visible_to(request.user), path="run__")
        seen = seen.select_related("user", "delivery__corp")
        may_open_people = Value(request.user.has_perm("accounts.view_user"), output_field=BooleanField())
        seen = seen.annotate(may_open_people=may_open_people)
        return seen.defer("delivery__body", "delivery__text", *(f"delivery__{name}" for name in CORP_SECRETS))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ReceiptList

    def csv_titles(self) -> list[str]:
        who = [gettext("user"), gettext("WeCom account"), gettext("status"), gettext("reason")]
        why = [gettext("Who can fix it"), gettext("Where")]
        return [*who, *why, gettext("message"), gettext("due"), gettext("read"), gettext("run")]

    def csv_lines(self, rows: list[Receipt]) -> Iterator[list[str]]:
        named = name_runs({one.run_id: one.run for one in rows}.values())
        for one in rows:
            said, title = explanations.explain_receipt(one), "" if one.delivery is None else one.delivery.title
            why = [said.what, said.who, said.where] if said is not None else [one.reason_text, "", ""]
            times = plain_moment(one.run.slot_at), plain_moment(one.read_at)
            who = [log.person(one), log.company_and_account(one), log.state_words(one)]
            yield [*who, *why, title, *times, named[one.run_id]]

    @admin.display(description=_("user"))
    def person(self, receipt: Receipt) -> str:
        return log.person(receipt)

    @admin.display(description=_("WeCom account"))
    def company_and_account(self, receipt: Receipt) -> str:
        return log.company_and_account(receipt)

    @admin.display(description=_("status"))
    def state(self, receipt: Receipt) -> SafeString:
        return log.state(receipt)

    @admin.display(description=_("reason"))
    def why(self, receipt: Receipt) -> str:
        """With the way to the person's page, where it can be put right there."""
        if receipt.reason in SET_ON_PERSON and receipt.user_id and getattr(receipt, "may_open_people", False):
            url = reverse("admin:accounts_user_change", args=[receipt.user_id])
            return format_html('<a href="{}">{}</a>', url, receipt.reason_text)
        return log.reason(receipt)

    @admin.display(description=_("message"))
    def message(self, receipt: Receipt) -> SafeString:
        if receipt.delivery is None:
            url = reverse("admin:notifications_run_change", args=[receipt.run_id])
            return format_html('<a href="{}">{}</a>', url, receipt.run_name)  # type: ignore[attr-defined]  # set by ReceiptList
        url = reverse("admin:notifications_delivery_change", args=[receipt.delivery_id])
        return format_html('<a href="{}">{}</a>', url, receipt.delivery.title)

    @admin.display(description=_("due"))
    def due(self, receipt: Receipt) -> str:
        return moment(receipt.run.slot_at)

    @admin.display(description=_("read"))
    def read(self, receipt: Receipt) -> str:
        return moment(receipt.read_at)

    def row_context(self, request: HttpRequest, receipt: Receipt) -> dict[str, Any]:
        way_back = [step_to_run(request, receipt.run)]
        if receipt.delivery is not None:
            way_back.append(step_to_delivery(request, receipt.delivery))
        facts = [
            (_("user"), self.person(receipt)),
            (_("WeCom account"), self.company_and_account(receipt)),
            (_("status"), self.state(receipt)),
            (_("reason"), self.why(receipt) or "—"),
            (_("run"), link(way_back[0])),
            *((_("message"), link(step)) for step in way_back[1:]),
            (_("due"), self.due(receipt)),
            *_list_times(receipt),
            (_("read"), self.read(receipt)),
        ]
        return {
            "title": self.person(receipt),
            "subtitle": None,
            "way_back": way_back,
            "facts": facts,
            "technical": technical(
                [(gettext("number"), receipt.pk), (pgettext("receipt", "address"), receipt.address)]
            ),
            "failures": [(why, 0)] if (why := explanations.explain_receipt(receipt, with_answer=True)) else [],
            "held_up": held_up(request, Delivery.objects.filter(pk__in=[receipt.delivery_id])),
        }


def _list_times(receipt: Receipt) -> list[tuple[Any, Any]]:
    """List when its run was claimed and rendered, and when it was sent and answered, by which attempt."""
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
