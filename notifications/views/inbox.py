"""Pages for employees: messages, own subscriptions, alerts."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from accounts.users.bi_identity import find_entry_company
from accounts.views import account
from accounts.views.confirmation import get_signed_in_person
from integrations.bi import is_open
from integrations.core.background import database_now
from integrations.models import Corp
from notifications.alerts import actions, charts, notices
from notifications.alerts.actions import Action
from notifications.delivery.explanations import prepare_names
from notifications.delivery.rendering.message_builder import MARKUP, find_link_target, render_markdown
from notifications.delivery.rendering.render import make_message_path
from notifications.delivery.sending.queue import CORP_SECRETS
from notifications.inbound.mail.html import SANDBOX, answer_with_page
from notifications.models import Delivery, Incident, IncomingMessage, Medium, Receipt, Run, SubscriptionChoice
from notifications.models.deliveries import tidy_mark
from notifications.reports.contents import load_content, paginate_tables
from notifications.subscriptions.addressees import choose_subscription, find_own_subscriptions
from notifications.views.media import answer_medium

Kind = SubscriptionChoice.Kind
ROWS_PER_PAGE = 100
# Messages on a page.
PAGE_SIZE = 20
UNREAD_COUNTED = 99
SEARCH_CHARACTERS = 64
ALERT_SHOWN_FOR = timedelta(days=7)  # after it is resolved
ALERTS_AT_MOST = 100
_CHOICE_ANSWERS = {
    "": _("You receive this again."),
    Kind.PAUSED: _("Paused: you receive nothing of it until you resume it."),
    Kind.DECLINED: _("You will not receive this any more."),
}


@require_safe
@never_cache
def show_home(request: HttpRequest) -> HttpResponse:
    """Show the person's messages. Redirect instead if the query names a page or contains a code of WeCom."""
    answer = account.redirect_from_first_page(request)
    return _show_messages(request) if answer is None else answer


@login_required
def _show_messages(request: HttpRequest) -> HttpResponse:
    """List the person's messages, newest first. `older`: list those before this receipt id."""
    person = get_signed_in_person(request)
    older = request.GET.get("older", "")
    is_id = older.isascii() and older.isdigit() and len(older) < 19
    # PostgreSQL fails on a NUL.
    words = request.GET.get("q", "").replace("\x00", "").strip()[:SEARCH_CHARACTERS]
    arrived = Receipt.objects.arrived().filter(user=person)
    receipts = prepare_names(arrived.select_related("delivery__corp"), path="run__").order_by("-pk")
    receipts = receipts.defer(*(f"delivery__{name}" for name in ("body", "plain_body", *CORP_SECRETS)))
    if is_id:
        receipts = receipts.filter(pk__lt=int(older))
    if words:
        receipts = receipts.filter(Q(delivery__title__icontains=words) | Q(delivery__text__icontains=words))
    found = list(receipts[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    # Messages by push or sending system; the group with the newest message is first. All alerts are one group.
    groups: dict[str, list[tuple[Receipt, str]]] = {}
    for receipt in page:
        run = receipt.run
        name = gettext("Alerts") if run.trigger == Run.Trigger.ALERT else gettext("Other messages")
        if run.subscription is not None:
            name = run.subscription.name
        elif run.message is not None:
            name = run.message.origin_name
        if receipt.delivery:
            groups.setdefault(name, []).append((receipt, " ".join(MARKUP.sub("", receipt.delivery.text).split())))
    context = {
        "groups": list(groups.items()),
        "older_than": page[-1].pk if len(found) > PAGE_SIZE else None,
        "is_first_page": not is_id,
        "words": words,
        "enters_bi": is_open() and find_entry_company(request) is not None,
        "unread_count": arrived.filter(read_at__isnull=True)[: UNREAD_COUNTED + 1].count(),
        "unread_counted": UNREAD_COUNTED,
    }
    return render(request, "notifications/home.html", context)


@require_safe
@never_cache
def show_message(request: HttpRequest, mark: str) -> HttpResponse:
    """Show a message to one of its recipients and mark it read. Anonymous visitors sign in first."""
    if not request.user.is_authenticated:
        return redirect(make_sign_in_url(mark, make_message_path(mark)))
    receipt = Receipt.objects.of_message(get_signed_in_person(request), mark).first()
    if receipt is None or receipt.delivery is None:
        return render(request, "notifications/not_yours.html", status=404)
    Receipt.objects.filter(pk=receipt.pk, read_at__isnull=True).update(read_at=timezone.now())
    delivery, report = receipt.delivery, dict[str, object]()
    if delivery.content is not None:
        # One page of the tables' rows. The tables contain only rows that the recipients may see.
        content, asked = load_content(bytes(delivery.content.document)), request.GET.get("page", "")
        longest = max((len(card.table.rows) for card in content.cards), default=0)
        pages = max(1, -(-longest // ROWS_PER_PAGE))  # as many as the longest table needs
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1
        number = max(min(number, pages), 1)
        zone = ZoneInfo(content.time_zone or settings.TIME_ZONE)  # the zone in which the text was written
        with timezone.override(zone):
            sent_at = timezone.localtime(delivery.settled_at or delivery.next_attempt_at)
            tables = paginate_tables(content, ROWS_PER_PAGE, number, at=sent_at)
        report = {"report": content, "zone": zone, "tables": tables, "page": number, "pages": pages}
        report |= {"earlier": number - 1, "later": number + 1 if number < pages else 0}
    media = Medium.objects.defer("content", "svg", "recipe").in_bulk([pk for pk, _title in delivery.shown_media])
    context = {
        "delivery": delivery,
        "content": render_markdown(delivery.text, delivery.message_form),
        "link": find_link_target(delivery.link),
        **report,
        "attachments": [
            {"medium": media[pk], "position": position, "title": title}
            for position, (pk, title) in enumerate(delivery.shown_media)
            if pk in media
        ],
        "is_from_outside": receipt.run.trigger == Run.Trigger.MESSAGE,
        "is_mail": find_mail_id(receipt) is not None,
        "sandbox": " ".join(SANDBOX),
    }
    return render(request, "notifications/message.html", {"tab": "home", **context})


@require_safe
@never_cache
@login_required
def list_own_subscriptions(request: HttpRequest) -> HttpResponse:
    """List the pushes that the person receives, has paused, or has declined."""
    found = list(find_own_subscriptions(get_signed_in_person(request)))
    context = {
        "wanted": [one for one in found if one.choice != Kind.DECLINED],
        "declined": [one for one in found if one.choice == Kind.DECLINED],
    }
    return render(request, "notifications/subscriptions.html", context)


@require_POST
@never_cache
@login_required
def store_choice(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause, resume or decline a push. Raises Http404 if it does not concern the person."""
    kind = request.POST.get("choice", "")
    if kind not in {"", *Kind}:
        return HttpResponseBadRequest()
    if not choose_subscription(get_signed_in_person(request), subscription_id=pk, kind=kind, now=timezone.now()):
        raise Http404
    messages.success(request, _CHOICE_ANSWERS[kind])
    return redirect("my-subscriptions")


def make_sign_in_url(mark: str, page: str) -> str:
    """Return the URL to sign in with the company of the message with this mark, then go to `page`. Falls back to the
    login page if no such company allows sign-in."""
    query = urlencode({"next": page})
    corps = Corp.objects.signing_in().filter(pk__in=Delivery.objects.filter(mark=tidy_mark(mark)).values("corp"))
    corp_id = corps.values_list("pk", flat=True).first()
    start = resolve_url("login") if corp_id is None else resolve_url("wecom-start", corp_id=corp_id)
    return f"{start}?{query}"


@require_safe
@login_required
@xframe_options_sameorigin
@cache_control(private=True, no_store=True)
def show_mail(request: HttpRequest, mark: str) -> HttpResponse:
    """Show the mail of a message to one of its recipients. Raises Http404."""
    receipt = Receipt.objects.of_message(request.user, mark).first() if isinstance(request.user, User) else None
    message_id = None if receipt is None else find_mail_id(receipt)
    if message_id is None:
        raise Http404
    return answer_with_page(message_id)


def find_mail_id(receipt: Receipt) -> int | None:
    """Return the id of the incoming message if it came by mail, else None."""
    runs = Run.objects.filter(pk=receipt.run_id, message__origin=IncomingMessage.Origin.MAIL)
    return runs.values_list("message_id", flat=True).first()


# Actions on these pages, with their answers. Incidents are closed in the admin only.
_ALERT_ANSWERS = {
    Action.ACKNOWLEDGE: _("You have taken it. Everybody who was told sees that."),
    Action.TAKE_OVER: _("You have taken it over. Everybody who was told sees that."),
    Action.SILENCE: _("Silent for an hour. If it lasts, you are reminded then."),
    Action.END_SILENCE: _("The silence is over: people are reminded again."),
}
_NOTHING = _("Nothing to do: somebody was faster, or it is over.")


@require_safe
@never_cache
def list_alerts(request: HttpRequest) -> HttpResponse:
    """List open and recently resolved alerts that concern the person, newest first."""
    if not request.user.is_authenticated:
        return redirect(make_sign_in_url(request.GET.get("m", ""), reverse("alerts")))
    person, now = get_signed_in_person(request), timezone.now()
    recent = Q(status=Incident.Status.OPEN) | Q(resolved_at__gt=now - ALERT_SHOWN_FOR, notified_at__isnull=False)
    rows = Incident.objects.filter(recent).with_people().order_by("status", "-pk").iterator(chunk_size=500)
    found = list(islice(filter(notices.ConcernCheck(person), rows), ALERTS_AT_MOST + 1))
    listed = [actions.view_incident(incident, person=person, now=now) for incident in found[:ALERTS_AT_MOST]]
    context = {
        "open_ones": [one for one in listed if one["incident"].is_open],
        "over": [one for one in listed if not one["incident"].is_open],
        "listed_at_most": ALERTS_AT_MOST if len(found) > ALERTS_AT_MOST else None,
    }
    return render(request, "notifications/alerts.html", context)


@require_safe
@never_cache
def show_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Show an alert to people who are notified of it and to administrators of its company."""
    if not request.user.is_authenticated:
        return redirect(make_sign_in_url(request.GET.get("m", ""), reverse("alert", args=[pk])))
    person, now = get_signed_in_person(request), database_now()
    incident = actions.find_incident(person, pk)
    if incident is None:
        return render(request, "notifications/not_yours.html", status=404)
    context = {
        "shown": actions.view_incident(incident, person=person, now=now),
        "pictures": charts.list_charts(incident, person=person, now=now),
        "incident": incident,
        "labels": list(incident.labels.items()),
        "timeline": incident.events.select_related("user"),
    }
    return render(request, "notifications/alert.html", {"tab": "alerts", **context})


@require_safe
@login_required
def show_alert_picture(request: HttpRequest, pk: int, picture: int, extension: str) -> HttpResponse:
    """Return a picture of an alert's data if the person may see it now. `extension`: svg or png."""
    person = get_signed_in_person(request)
    incident = actions.find_incident(person, pk)
    return answer_medium(None if incident is None else charts.find_chart(incident, picture, person=person), extension)


@require_POST
@never_cache
@login_required
def act_on_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Acknowledge, take over, silence, or end the silence of an incident."""
    action = request.POST.get("action")
    if action not in _ALERT_ANSWERS:
        return HttpResponseBadRequest()
    action = Action(action)
    done = actions.act_on_incidents(action, [pk], person=get_signed_in_person(request), now=database_now())
    if done.changed:
        messages.success(request, _ALERT_ANSWERS[action])
    elif done.unchanged:
        messages.info(request, _NOTHING)
    else:
        raise Http404
    return redirect("alert", pk)
