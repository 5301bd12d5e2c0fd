"""Makes runs that people or API calls request: by hand, as a trial, or to resend to people not reached."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import services, signals
from accounts.models import AuditEntry, User
from integrations.models.jobs import Moment
from notifications.delivery.rows import RENDER_LEASE
from notifications.delivery.runs.scheduler import make_run_fields
from notifications.models import ApiToken, Delivery, Receipt, Run, Subscription
from notifications.models.runs import KEY_CHARACTERS

# Statuses of runs whose messages were made.
RENDERED = (Run.Status.SENDING, Run.Status.FINISHED)


def can_be_resent(run: Run) -> bool:
    """Return whether the run's messages were made and not recalled, and what it sent still exists."""
    if run.message_id is not None:
        return run.recall_requested_at is None and bool(find_parts(run))
    return run.status in RENDERED and run.subscription_id is not None and run.recall_requested_at is None


def find_parts(run: Run) -> list[Run]:
    """Return the runs to resend together: all first runs of the run's incoming message, else the run alone."""
    if run.message_id is None:
        return [run]
    return list(run.find_runs_of_message().filter(trigger=Run.Trigger.MESSAGE, status__in=RENDERED).order_by("pk"))


def make_resend_key(run: Run, number: int, delivery: Delivery | None = None) -> str:
    """Return the key of the `number`th resend of `run`, or of its message `delivery` alone."""
    return f"resend:{run.pk}:{number}" if delivery is None else f"resend:{run.pk}:{number}:{delivery.pk}"


@transaction.atomic
def request_resend(
    run: Run, *, delivery: Delivery | None = None, number: int, with_unknown: bool, person: User, now: datetime
) -> tuple[list[Run], bool]:
    """Return the runs that resend `run`, and whether they are new: one run, or one for each part of an incoming message
    that did not reach everybody. Submitting a page twice returns the same runs, and so does a second request while the
    first one's messages are not made yet.

    `delivery`: resend this message alone, to its people. `number`: 1 for the first resend of the run or of its incoming
    message, and so on. The present text of the subscription is sent, and expires its full lifetime from now.
    """
    parts = [run] if delivery is not None else find_parts(run)
    originals = Run.objects.filter(pk__in=[part.original_run.pk for part in parts]).order_by("pk")
    list(originals.select_for_update(of=("self",)))
    keys = {make_resend_key(part, number, delivery): part for part in parts}
    later = [pk for part in parts for pk in part.find_later_resends()]
    known = list(Run.objects.filter(Q(key__in=keys) | Q(pk__in=later, status=Run.Status.WAITING)).order_by("pk"))
    if known:
        return known, False
    resends = []
    for key, part in keys.items():
        if len(parts) > 1 and not Receipt.objects.unreached(part, with_unknown=with_unknown).exists():
            continue
        fields: dict[str, Any] = {"message_id": part.message_id, "corp_id": part.corp_id, "trigger": Run.Trigger.RESEND}
        fields |= {"slot_at": now, "claimed_at": now, "render_after": now + RENDER_LEASE}
        if part.subscription is not None:
            fields = make_run_fields(part.subscription, Run.Trigger.RESEND, slot_at=now, now=now)
        fields |= {"resends": part, "resends_unknown": with_unknown}
        mark = "" if delivery is None else delivery.mark
        resends.append(Run.objects.create(**fields, key=key, requested_by=person, resends_mark=mark))
    note = _("Sent again: %(what)s") % {"what": delivery or run}
    corp_id = run.corp_id if delivery is None else delivery.corp_id
    services.record(action=AuditEntry.Action.DONE, subject=run, note=note, corps=[] if corp_id is None else [corp_id])
    return resends, True


# --- Runs by hand, by URL, or after a data update. A subscription has one run at a time ---


class TriggerRefusedError(Exception):
    """The run may not begin now. `code` is for programs that call the API, `sentence` for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code)
        self.code, self.sentence = code, sentence


def request_run(
    subscription: Subscription,
    *,
    trigger: Run.Trigger,
    form_key: str,
    person: User,
    now: datetime,
    tried_on: User | None = None,
) -> tuple[Run, bool]:
    """Return the run that a form requests, and whether it is new. Submitting the same form, with its `form_key`, twice
    gives one run. `tried_on`: the only recipient of a trial, by default `person`.

    Raises TriggerRefusedError if another run is under way, except for a trial; nothing is written then.
    """
    key = f"{trigger}:{form_key}"
    with transaction.atomic():
        current = _lock_subscription(subscription)
        if trigger not in Run.PARTIAL and not Run.objects.filter(key=key).exists():
            _check_none_under_way(current)
        fields = make_run_fields(current, trigger, slot_at=now, now=now)
        return Run.objects.get_or_create(key=key, defaults={**fields, "requested_by": person, "tried_on": tried_on})


def _lock_subscription(subscription: Subscription) -> Subscription:
    """Lock and read the subscription, so that concurrent requests and ticks see each other's run."""
    return Subscription.objects.select_for_update(of=("self",)).select_related("report").get(pk=subscription.pk)


def trigger_run(
    subscription: Subscription, *, token: ApiToken, trigger: Run.Trigger, ip: str | None, now: datetime
) -> Run:
    """Make the run that a token requests, with its audit entry. Call it inside a transaction. Raises
    TriggerRefusedError; nothing is written then."""
    current = _lock_subscription(subscription)
    if not current.is_enabled:
        sentence = _("The push is disabled: it runs by hand only, in the administration.")
        raise TriggerRefusedError("subscription_disabled", sentence)
    is_early = current.valid_from is not None and now < current.valid_from
    if is_early or (current.valid_to is not None and now >= current.valid_to):
        raise TriggerRefusedError("outside_validity", _("The push is not valid at this time."))
    _check_none_under_way(current)
    run = Run.objects.create(
        **make_run_fields(current, trigger, slot_at=now, now=now),
        key=f"api:{current.pk}:{secrets.token_hex(16)}",
        requested_by=token.owner,
        api_token=token,
    )
    with services.set_actor(token.owner, ip):
        note = f"{run.get_trigger_display()} ({run.key}) · {token}"
        corps = signals.find_corps(current)
        services.record(action=AuditEntry.Action.DONE, subject=current, note=note, corps=corps)
    return run


def _check_none_under_way(subscription: Subscription) -> None:
    if Run.objects.under_way().filter(subscription=subscription).exists():
        raise TriggerRefusedError("run_under_way", explain_under_way())


def explain_under_way() -> str:
    """Explain why no run may begin before another has ended."""
    return _("A run of this push is under way. A push has only one run at a time.")


# --- Idempotency-Key: for 24 hours a repeated request gets the answer of the first ---

KEY_KEPT = timedelta(hours=24)
# Values that erase the stored API request of a run.
NO_REQUEST = {"request_key": "", "request_fingerprint": "", "request_answer": ""}
# Printable ASCII characters without spaces.
KEY_PATTERN = rf"^[!-~]{{1,{KEY_CHARACTERS}}}$"


class KeyReusedError(Exception):
    """The key belongs to another request of the same token."""


def compute_fingerprint(method: str, path: str, body: str) -> str:
    """Return a SHA-256 of the request, as 64 hexadecimal digits."""
    return hashlib.sha256("\n".join((method, path, body)).encode()).hexdigest()


@transaction.atomic
def answer_once(
    *, token: ApiToken, key: str, fingerprint: str, now: datetime, make: Callable[[], tuple[Run, str]]
) -> tuple[Run, str, bool]:
    """Return the run and the answer that `make` returns, or the stored ones of the key; and whether they were stored.
    With an empty key nothing is stored.

    `make` makes the run and its answer; an exception from it undoes everything, so that the key stays free. Of two
    concurrent requests of a token the second waits for the first. Raises KeyReusedError.
    """
    if not key:
        return (*make(), False)
    ApiToken.objects.select_for_update(of=("self",), no_key=True).get(pk=token.pk)
    mine = Run.objects.filter(api_token=token, request_key=key)
    known = mine.filter(claimed_at__gt=now - KEY_KEPT).first()
    if known is not None:
        if known.request_fingerprint != fingerprint:
            raise KeyReusedError
        return known, known.request_answer, True
    mine.update(**NO_REQUEST)
    run, answer = make()
    stored = {"request_key": key, "request_fingerprint": fingerprint, "request_answer": answer}
    Run.objects.filter(pk=run.pk).update(**stored)
    return run, answer, False


def find_old_requests(now: Moment) -> QuerySet[Run]:
    """Return the runs of requests whose keys have expired."""
    return Run.objects.exclude(request_key="").filter(claimed_at__lte=now - KEY_KEPT)
