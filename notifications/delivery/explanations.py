"""Explains runs and messages to people: why a message did not arrive, whom a run did not reach, what a run is called.

Rows store error codes, sentences and answers of other systems; the explanations are in the reader's language.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

from django.db.models import Case, Count, F, Min, Model, Q, QuerySet, Sum, Value, When
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from integrations.clients.errors import Explanation, read_operation
from integrations.clients.wecom.errcodes import AUTHOR, NETWORK_ADMIN, NOBODY, SITE_ADMIN
from integrations.core import sentences
from integrations.core.sentences import Sentence, explain_errcode, make_counted_sentence
from notifications.delivery.channels import LOST_WORKER, NO_THREAD, OTHER_APP, ROBOT_GONE
from notifications.models import Attempt, Channel, Delivery, Incident, IncidentEvent, Receipt, Run

# WeCom's codes for a person who did not get a message that others got.
UNKNOWN_ACCOUNT, NO_LICENCE = 60111, 701008
# A page names this many different failures of a run.
SHOWN_AT_MOST = 5


# --- A message --------------------------------------------------------------------------------------------------------


def explain_delivery(delivery: Delivery, *, with_answer: bool = False) -> Explanation | None:
    """Explain why the message was not sent, or not yet: what happened, who can fix it, and where. Return None if
    nothing went wrong.

    `with_answer`: add the other side's answer, which costs a query.
    """
    if delivery.status == Delivery.Status.ACCEPTED or not (delivery.error or delivery.errcode):
        return None
    explanation = _explain_error(delivery.channel, delivery.errcode, delivery.error)
    return replace(explanation, raw=_find_answer(delivery)) if with_answer else explanation


def explain_receipt(receipt: Receipt, *, with_answer: bool = False) -> Explanation | None:
    """Explain why the person did not get the message. Return None if they did, or if the receipt has its own reason.

    Makes no query if the delivery was read with the receipt, unless `with_answer` is set.
    """
    delivery = receipt.delivery
    if delivery is None or receipt.status == Receipt.Status.SKIPPED:
        return None
    is_named = receipt.status in {Receipt.Status.INVALID, Receipt.Status.UNLICENSED}
    if not is_named or delivery.channel != Channel.WECOM:
        return explain_delivery(delivery, with_answer=with_answer)
    explanation = explain_errcode(NO_LICENCE if receipt.status == Receipt.Status.UNLICENSED else UNKNOWN_ACCOUNT)
    return replace(explanation, raw=_find_answer(delivery)) if with_answer else explanation


def explain_deliveries(deliveries: QuerySet[Delivery]) -> list[tuple[Explanation, int]]:
    """Return the different failures of a run's deliveries with their numbers of people, most first. Makes one query."""
    unsent = ~Q(status=Delivery.Status.ACCEPTED) & (~Q(error="") | Q(errcode__isnull=False))
    rows = deliveries.filter(unsent).order_by().values_list("channel", "errcode", "error")
    counted = rows.annotate(people=Sum("recipient_count")).order_by("-people")
    return [
        (replace(_explain_error(channel, errcode, error), raw=sentences.translate_stored(error)), people)
        for channel, errcode, error, people in counted[:SHOWN_AT_MOST]
    ]


def _explain_error(channel: str, errcode: int | None, error: str) -> Explanation:
    if channel == Channel.EMAIL:
        return Explanation(
            _("The mail server did not take the mail."),
            _(SITE_ADMIN),
            _("People → the person: correct the e-mail address; or EMAIL_URL, if no mail goes out at all."),
        )
    if errcode:
        return explain_errcode(errcode, operation=read_operation(error))
    retried = _(NOBODY), _("Nothing to be done: it is tried again by itself.")
    # Errors of our own, where the other side gave no answer.
    own_error = {
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
        NO_THREAD.message: Explanation(_("The worker was too busy: the call did not begin in time."), *retried),
        LOST_WORKER.message: Explanation(
            _("The worker ended before WeCom's answer was written down: it is not known whether the message arrived."),
            *retried,
        ),
    }.get(error)
    if own_error is not None:
        return own_error
    if read_operation(error):
        return Explanation(
            _("WeCom gave no answer that counts: it could not be reached, or something else answered in its place."),
            _(NETWORK_ADMIN),
            _("Open the company's page and run the diagnosis; the raw answer stands below."),
        )
    return Explanation(sentences.translate_stored(error))


def _find_answer(delivery: Delivery) -> str:
    """Return the other side's answer: the delivery's stored sentence, then the words of the answer."""
    found = Attempt.objects.filter(delivery=delivery).exclude(answer="").order_by("-number")
    answer = found.values_list("answer", flat=True).first() or ""
    return "\n".join(dict.fromkeys(filter(None, [sentences.translate_stored(delivery.error), answer])))


# --- A run ------------------------------------------------------------------------------------------------------------

# The state of messages that were recalled, without the rest of their run: somebody wanted them not to arrive.
_TAKEN_BACK = "taken back"
_NOT_MADE = "not made"
_NOBODY_REACHED = Sentence("It reached nobody: the receipts say why.")
# The sentence for each state of a message, with the number of people not reached.
_LOSSES = {
    Delivery.Status.FAILED: make_counted_sentence(
        "Refused for %(count)d recipient.", "Refused for %(count)d recipients.", 0
    ),
    Delivery.Status.CANCELED: make_counted_sentence(
        "Expired before it could be sent to %(count)d recipient.",
        "Expired before it could be sent to %(count)d recipients.",
        0,
    ),
    Delivery.Status.UNKNOWN: make_counted_sentence(
        "For %(count)d recipient it is not known whether the message arrived.",
        "For %(count)d recipients it is not known whether the message arrived.",
        0,
    ),
    _NOT_MADE: make_counted_sentence(
        "For %(count)d recipient no message could be made: the receipt says why.",
        "For %(count)d recipients no message could be made: the receipts say why.",
        0,
    ),
}


def sum_up_losses(run_ids: Collection[int]) -> dict[int, Sentence]:
    """Map each of these runs that did not reach everybody to a sentence about its losses. Makes two queries.

    People whom WeCom names as invalid or without licence are no loss if others got the message: their receipts say so,
    and a large company always has some.
    """
    state = Case(When(recall_requested_at__isnull=False, then=Value(_TAKEN_BACK)), default=F("status"))
    rows = Delivery.objects.filter(run__in=run_ids).order_by().annotate(state=state).values_list("run", "state")
    people = Sum(F("recipient_count") - F("invalid_count") - F("unlicensed_count"))
    counts: dict[int, dict[str, int]] = {run_id: {} for run_id in run_ids}
    for run_id, delivery_state, count in rows.annotate(people=people):
        counts[run_id][delivery_state] = count
    unmade = Receipt.objects.filter(run__in=run_ids, run__skipped_count__gt=0, reason=Receipt.Reason.NO_MESSAGE)
    for run_id, count in unmade.order_by().values_list("run").annotate(people=Count("pk")):
        counts[run_id][_NOT_MADE] = count
    found = {}
    for run_id, by_state in counts.items():
        losses = [sentence % {"count": by_state[state]} for state, sentence in _LOSSES.items() if by_state.get(state)]
        if losses:
            parts = {f"sentence{number}": sentence for number, sentence in enumerate(losses, start=1)}
            text = " ".join(f"%({name})s" for name in parts)
            found[run_id] = Sentence(text, parts)
        elif not by_state.get(Delivery.Status.ACCEPTED) and _TAKEN_BACK not in by_state:
            found[run_id] = _NOBODY_REACHED
    return found


def explain_no_messages(reasons: Collection[Receipt.Reason | None]) -> Sentence | None:
    """Explain why a run made no message at all. Return None if that was intended. `reasons`: of the skipped people."""
    if not reasons:
        return Sentence("It reached nobody: nobody is chosen.")
    others = set(reasons) - Receipt.NOT_RESENT
    # An empty attribute is a mistake, unless other people have no rows or do not want the push.
    is_intended = not others or (others == {Receipt.Reason.NO_VALUE} and len(reasons) > 1)
    return None if is_intended else _NOBODY_REACHED


# --- Names of runs: the push; the alert and what happened; the message and its origin ---

Notice = Incident.Notice
R = TypeVar("R", bound=Model)
# Long texts, and secrets, which are decrypted when they are read.
_DEFERRED_COLUMNS = (
    *("text", "original", "page", "callback_url", "token__signing_secret"),
    *("channel__secret", "channel__mapping", "channel__last_payload"),
)


def prepare_names(rows: QuerySet[R], *, path: str = "") -> QuerySet[R]:
    """Make the query read what `name_runs` needs. `path`: from a row to its run, such as "run__"."""
    shown = ("subscription", "requested_by", "message__token", "message__channel")
    named = rows.select_related(*(f"{path}{name}" for name in shown))
    return named.defer(*(f"{path}message__{name}" for name in _DEFERRED_COLUMNS))


def name_runs(runs: Collection[Run]) -> dict[int, str]:
    """Map runs to their names in the reader's language. Makes at most two queries if `prepare_names` read the runs."""
    alert_run_ids = [run.pk for run in runs if run.trigger == Run.Trigger.ALERT]
    rows = IncidentEvent.objects.filter(run__in=alert_run_ids).order_by().values_list("run", "notice")
    notices = list(rows.annotate(first=Min("incident"), count=Count("pk"))) if alert_run_ids else []
    known = Incident.objects.select_related("channel", "rule").defer("channel__last_payload")
    incidents = known.in_bulk({first_id for _run, _kind, first_id, _count in notices})
    happened = {
        Notice.FIRE.value: pgettext("what an alert tells", "triggered"),
        Notice.REPEAT.value: pgettext("what an alert tells", "reminder"),
        Notice.RECOVER.value: pgettext("what an alert tells", "recovered"),
    }
    # One alert by its title, several by their rule or channel and the number of alerts; then what happened.
    alerts = {}
    for run_id, kind, first_id, count in notices:
        if (first := incidents.get(first_id)) is not None:
            several = ngettext("%(name)s: %(count)d alert", "%(name)s: %(count)d alerts", count)
            title = first.title if count == 1 else several % {"name": first.source or first.title, "count": count}
            words = {"title": title, "what": happened[kind]}
            alerts[run_id] = pgettext("an alert and what happened", "%(title)s · %(what)s") % words
    names = {}
    for run in runs:
        if run.trigger == Run.Trigger.ALERT:
            names[run.pk] = alerts.get(run.pk) or _("Alert that was deleted")
        elif run.trigger == Run.Trigger.NOTICE:
            to_person = _("Notice to the owner: %(person)s") % {"person": run.requested_by}
            names[run.pk] = _("Notice to the owner") if run.requested_by is None else to_person
        elif run.message is not None:
            # The key of a message's file has a number (notifications.inbound.accept), that of the message itself none.
            kind, *numbers = run.key.split(":")
            words = {"title": run.message.title, "origin": run.message.origin_name, "number": "".join(numbers[1:2])}
            sentence = pgettext("a message and where it came from", "%(title)s · %(origin)s")
            if kind == Run.Trigger.MESSAGE and words["number"]:
                sentence = pgettext(
                    "a file of a message, and where it came from", "%(title)s (file %(number)s) · %(origin)s"
                )
            names[run.pk] = sentence % words
        else:
            names[run.pk] = _("Push that was deleted") if run.subscription is None else run.subscription.name
    return names


def name_run(run: Run) -> str:
    """Name one run as `name_runs` does."""
    return name_runs([run])[run.pk]
