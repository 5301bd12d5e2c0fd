"""Employees' pages: home with messages, one message, own subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from accounts.views import account, navigation
from integrations.models import Corp
from notifications.delivery.rendering import markdown
from notifications.delivery.rendering.freeze import message_path
from notifications.delivery.runs import inbox
from notifications.inbound.mail.page import SANDBOX
from notifications.models import Delivery, Receipt, Run, SubscriptionChoice
from notifications.models.deliveries import tidy_mark
from notifications.reports.contents import thawed
from notifications.reports.html_tables import page_count, shown_tables
from notifications.subscriptions import preferences
from notifications.views.mails import mail_of

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


Kind = SubscriptionChoice.Kind
ROWS_PER_PAGE = 100
_SAID = {
    "": _("You receive this again."),
    Kind.PAUSED: _("Paused: you receive nothing of it until you resume it."),
    Kind.DECLINED: _("You will not receive this any more."),
}


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """The site's first page: my messages, or the inner page that a link of the specification names."""
    arrived = account.arrival(request)
    return _show_messages(request) if arrived is None else arrived


@login_required
def _show_messages(request: HttpRequest) -> HttpResponse:
    """List my messages, newest first; `older` (a receipt's id) asks for those before it."""
    person = signed_in(request.user)
    older = request.GET.get("older", "")
    is_id = older.isascii() and older.isdigit() and len(older) < 19
    words = inbox.tidy_words(request.GET.get("q", ""))
    page = inbox.messages_of(person, older_than=int(older) if is_id else None, words=words)
    context = {
        "groups": _group_by_push(page.receipts),
        "older_than": page.older_than,
        "is_first_page": not is_id,
        "words": words,
        "entries": navigation.home_entries.joined(request),
        "unread_count": inbox.unread_count(person),
        "unread_counted": inbox.UNREAD_COUNTED,
    }
    return render(request, "notifications/home.html", context)


def _group_by_push(receipts: list[Receipt]) -> list[tuple[str, list[tuple[Receipt, str]]]]:
    """Group a page of messages by the name of their push, or of the system that sent them, that with the newest one
    first. Alerts and notices are one group each.
    """
    groups: dict[str, list[tuple[Receipt, str]]] = {}
    for receipt in receipts:
        if receipt.delivery:
            shown = (receipt, markdown.excerpt(receipt.delivery.text))
            groups.setdefault(_name_group(receipt.run), []).append(shown)
    return list(groups.items())


def _name_group(run: Run) -> str:
    if run.subscription is not None:
        return run.subscription.name
    if run.message is not None:
        return run.message.origin_name
    return gettext("Alerts") if run.trigger == Run.Trigger.ALERT else gettext("Other messages")


@require_safe
@never_cache
def message(request: HttpRequest, mark: str) -> HttpResponse:
    """One message, for the people it was sent to. Somebody not signed in goes through its company first."""
    if not request.user.is_authenticated:
        return redirect(sign_in_url(mark, message_path(mark)))
    receipt = inbox.receipt_for(signed_in(request.user), mark=mark)
    if receipt is None or receipt.delivery is None:
        return render(request, "notifications/not_yours.html", status=404)
    inbox.mark_read(receipt, now=timezone.now())
    delivery = receipt.delivery
    context = {
        "delivery": delivery,
        "content": markdown.shown(delivery.text, delivery.message_form),
        "link": inbox.link_target(delivery.link),
        **_read_report(delivery, request.GET.get("page", "")),
        "attachments": inbox.attachments_of(delivery),
        "is_from_outside": receipt.run.trigger == Run.Trigger.MESSAGE,
        "is_mail": mail_of(receipt) is not None,
        "sandbox": " ".join(SANDBOX),
    }
    return render(request, "notifications/message.html", context)


def _read_report(delivery: Delivery, page: str) -> dict[str, object]:
    """Return what the message's report says beside its text: the tables of the recipients' own slice, a page of rows.

    Their times are those of the zone for which the text was written, wherever the site is.
    """
    if delivery.content is None:
        return {}
    content = thawed(bytes(delivery.content.document))
    zone = ZoneInfo(content.time_zone or settings.TIME_ZONE)
    pages = page_count(content, ROWS_PER_PAGE)
    number = min(int(page), pages) if page.isascii() and page.isdigit() and len(page) < 6 else 1
    number = max(number, 1)
    with timezone.override(zone):
        tables = shown_tables(content, ROWS_PER_PAGE, number)
    return {
        "report": content,
        "zone": zone,
        "tables": tables,
        "page": number,
        "pages": pages,
        "earlier": number - 1,
        "later": number + 1 if number < pages else 0,
    }


@require_safe
@never_cache
@login_required
def my_subscriptions(request: HttpRequest) -> HttpResponse:
    """List what is sent to me, what I have paused, and what I do not want."""
    found = preferences.of_person(signed_in(request.user))
    context = {
        "wanted": [one for one in found if one.choice != Kind.DECLINED],
        "declined": [one for one in found if one.choice == Kind.DECLINED],
    }
    return render(request, "notifications/subscriptions.html", context)


@require_POST
@never_cache
@login_required
def choose(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause, resume or decline one of my subscriptions; 404 for those that do not concern me."""
    kind = request.POST.get("choice", "")
    if kind not in {"", *Kind}:
        return HttpResponseBadRequest()
    is_mine = preferences.choose(signed_in(request.user), subscription_id=pk, kind=kind, now=timezone.now())
    if not is_mine:
        raise Http404
    messages.success(request, _SAID[kind])
    return redirect("my-subscriptions")


def sign_in_url(mark: str, page: str) -> str:
    """Return the start of sign-in for the company of the message with this mark, which leads to `page`; the login page
    where it has none that signs people in.
    """
    query = urlencode({"next": page})
    corps = Corp.objects.signing_in().filter(pk__in=Delivery.objects.filter(mark=tidy_mark(mark)).values("corp"))
    corp_id = corps.values_list("pk", flat=True).first()
    start = resolve_url("login") if corp_id is None else resolve_url("wecom-start", corp_id=corp_id)
    return f"{start}?{query}"


def signed_in(user: User | AnonymousUser) -> User:
    """The signed-in person, for the type checker: views here let nobody else this far."""
    if not isinstance(user, User):
        raise TypeError("nobody is signed in")
    return user
