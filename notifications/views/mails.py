"""A whole mail, in a frame on the page of the message that was made of it."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from accounts.models import User
from notifications.delivery.runs import inbox
from notifications.inbound.mail import page
from notifications.models import IncomingMessage, Receipt, Run


@require_safe
@login_required
@xframe_options_sameorigin
@cache_control(private=True, no_store=True)
def whole_mail(request: HttpRequest, mark: str) -> HttpResponse:
    """The mail of a message, for the people it was sent to. Raises Http404."""
    receipt = inbox.receipt_for(request.user, mark=mark) if isinstance(request.user, User) else None
    message_id = None if receipt is None else mail_of(receipt)
    if message_id is None:
        raise Http404
    return page.page_of(message_id)


def mail_of(receipt: Receipt) -> int | None:
    """The message that was made of a mail; None for any other message."""
    runs = Run.objects.filter(pk=receipt.run_id, message__origin=IncomingMessage.Origin.MAIL)
    return runs.values_list("message_id", flat=True).first()
