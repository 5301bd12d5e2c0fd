"""Explains why a message did not arrive: what happened, who fixes it, where, and the raw answer.

The rows keep numbers and the other side's own words. The sentences are made when they are shown, in the reader's
language.
"""

from __future__ import annotations

from dataclasses import replace

from django.db.models import Q, QuerySet, Sum
from django.utils.translation import gettext as _

from integrations.clients.errors import operation_of
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import AUTHOR, NETWORK_ADMIN, NOBODY, SITE_ADMIN
from integrations.core import sentences
from integrations.core.explanations import of_errcode
from notifications.delivery.channels.outcomes import LOST_WORKER, NO_THREAD, OTHER_APP, ROBOT_GONE
from notifications.models import Attempt, Channel, Delivery, Receipt

# What WeCom says of a person in the list of a message that others got.
UNKNOWN_ACCOUNT, NO_LICENCE = 60111, 701008
# A page names so many different failures of a run.
SHOWN_AT_MOST = 5
_UNSENT = ~Q(status=Delivery.Status.ACCEPTED) & (~Q(error="") | Q(errcode__isnull=False))


def of_delivery(delivery: Delivery) -> Explanation | None:
    """Why it did not go out, or does not yet; None where nothing went wrong."""
    said = explanation_of_delivery(delivery)
    return None if said is None else replace(said, raw=_raw(delivery.error, _last_answer(delivery)))


def explanation_of_delivery(delivery: Delivery) -> Explanation | None:
    """The same without the raw answer, for lists."""
    if delivery.status == Delivery.Status.ACCEPTED or not (delivery.error or delivery.errcode):
        return None
    return _explanation(delivery.channel, delivery.errcode, delivery.error)


def of_receipt(receipt: Receipt) -> Explanation | None:
    """Why the person did not get it; None where they did, or where they were skipped, which has its reason."""
    said, delivery = explanation_of_receipt(receipt), receipt.delivery
    if said is None or delivery is None:
        return None
    return replace(said, raw=_raw(delivery.error, _last_answer(delivery)))


def explanation_of_receipt(receipt: Receipt) -> Explanation | None:
    """The same without the raw answer, for lists: asks for nothing that did not come with the receipt."""
    delivery = receipt.delivery
    if delivery is None or receipt.status == Receipt.Status.SKIPPED:
        return None
    is_named = receipt.status in {Receipt.Status.INVALID, Receipt.Status.UNLICENSED}
    if is_named and delivery.channel == Channel.WECOM:
        return of_errcode(NO_LICENCE if receipt.status == Receipt.Status.UNLICENSED else UNKNOWN_ACCOUNT)
    return explanation_of_delivery(delivery)


def of_run(deliveries: QuerySet[Delivery]) -> list[tuple[Explanation, int]]:
    """The different failures among a run's deliveries with how many people each concerns, most first. One query."""
    rows = deliveries.filter(_UNSENT).order_by().values_list("channel", "errcode", "error")
    counted = rows.annotate(people=Sum("recipient_count")).order_by("-people")
    return [
        (replace(_explanation(channel, errcode, error), raw=_raw(error, "")), people)
        for channel, errcode, error, people in counted[:SHOWN_AT_MOST]
    ]


def _explanation(channel: str, errcode: int | None, error: str) -> Explanation:
    if channel == Channel.EMAIL:
        return _of_mail()
    if errcode:
        return of_errcode(errcode, operation=operation_of(error))
    own = _own().get(error)
    if own is not None:
        return own
    if operation_of(error):
        return Explanation(
            _("WeCom gave no answer that counts: it could not be reached, or something else answered in its place."),
            _(NETWORK_ADMIN),
            _("Open the company's page and run the diagnosis; the raw answer stands below."),
        )
    return Explanation(sentences.shown(error))


def _of_mail() -> Explanation:
    return Explanation(
        _("The mail server did not take the mail."),
        _(SITE_ADMIN),
        _("Users → the person: correct the e-mail address; or the variable EMAIL_URL, if no mail goes out at all."),
    )


def _own() -> dict[str, Explanation]:
    """By the text that our program stores where no other side said anything."""
    passes = _(NOBODY), _("Nothing to be done: it is tried again by itself.")
    return {
        OTHER_APP.message: Explanation(
            _("The company's app was changed after this message was made: the new app does not send it."),
            _(SITE_ADMIN),
            _("Open the run and send it again to those not reached."),
        ),
        ROBOT_GONE.message: Explanation(
            _("The group's robot was deleted after this message was made."),
            _(AUTHOR),
            _("Open the push or alert rule and choose another robot, then run it again."),
        ),
        NO_THREAD.message: Explanation(_("The worker was too busy: the call did not begin in time."), *passes),
        LOST_WORKER.message: Explanation(
            _("The worker ended before WeCom's answer was written down: it is not known whether the message arrived."),
            *passes,
        ),
    }


def _last_answer(delivery: Delivery) -> str:
    found = Attempt.objects.filter(delivery=delivery).exclude(answer="").order_by("-number")
    return found.values_list("answer", flat=True).first() or ""


def _raw(error: str, answer: str) -> str:
    return "\n".join(dict.fromkeys(filter(None, [sentences.shown(error), answer])))
