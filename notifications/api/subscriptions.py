"""`/subscriptions`: which there are, and running one. `/runs`: what became of it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Router
from ninja.params.functions import Header, Query

from integrations.core.background import database_now
from notifications.api import tokens
from notifications.api.authentication import address_of, token_for
from notifications.api.problems import ProblemError, problems
from notifications.api.schemas import LARGEST_ID, Id, RunRequest, RunState, SubscriptionItem, SubscriptionPage
from notifications.api.tokens import Action
from notifications.delivery.runs import idempotency, triggers
from notifications.models import Run
from notifications.tasks import enqueue_runs

router, runs_router = Router(tags=["subscriptions"]), Router(tags=["runs"])
PAGE = 50
PAGE_AT_MOST = 200


@router.get("", response={200: SubscriptionPage, **problems()}, summary="The subscriptions that the token reaches")
def list_subscriptions(
    request: HttpRequest,
    after: int = Query(0, ge=0, le=LARGEST_ID, description="Only those with a larger id"),
    limit: int = Query(PAGE, ge=1, le=PAGE_AT_MOST),
) -> SubscriptionPage:
    """In the order of their ids. A page costs the same however many there are."""
    token = token_for(request, Action.READ)
    found = tokens.subscriptions_of(token).filter(pk__gt=after).select_related("report").order_by("pk")
    rows = list(found[: limit + 1])
    items = [SubscriptionItem.of(row) for row in rows[:limit]]
    return SubscriptionPage(items=items, next_after=items[-1].id if len(rows) > limit else None)


@router.post(
    "/{int:subscription_id}/run",
    response={202: RunState, **problems(400, 409, 415)},
    summary="Run a subscription now: by URL, or after a data update",
)
def run_subscription(
    request: HttpRequest,
    subscription_id: Id,
    asked: RunRequest | None = None,
    idempotency_key: str | None = Header(
        None,
        alias="Idempotency-Key",
        pattern=idempotency.KEY_PATTERN,
        description="The same key with the same request within 24 hours gives the same answer and no second run.",
    ),
) -> HttpResponse:
    """Answers as soon as the run is written down; what becomes of it says `/runs/{run_id}` (header `Location`).

    409 where the subscription is disabled, not valid now, or has a run under way. The body may be left out.
    """
    token = token_for(request, Action.RUN)
    subscription = tokens.subscriptions_of(token).filter(pk=subscription_id).first()
    if subscription is None:
        raise ProblemError("not_found")
    asked = asked or RunRequest()
    run_request = triggers.TriggerRequest(
        token=token,
        trigger=Run.Trigger(asked.trigger),
        ip=address_of(request),
        key=idempotency_key or "",
        fingerprint=idempotency.fingerprint_of("POST", request.path, asked.model_dump_json()),
    )
    try:
        answer = triggers.trigger(subscription, request=run_request, now=database_now(), words=_words, enqueue=_enqueue)
    except triggers.TriggerRefusedError as error:
        raise ProblemError(error.code, error.sentence) from error
    except idempotency.KeyReusedError as error:
        raise ProblemError("idempotency_key_reused") from error
    headers = {"Location": reverse("api-1:get_run", args=[answer.run_id])}
    if answer.is_repeated:
        headers["Idempotency-Replayed"] = "true"
    return HttpResponse(answer.text, status=202, content_type="application/json; charset=utf-8", headers=headers)


@runs_router.get(
    "/{int:run_id}", response={200: RunState, **problems()}, url_name="get_run", summary="State and counts"
)
def get_run(request: HttpRequest, run_id: Id) -> RunState:
    """Of whatever trigger, as long as its subscription is reached by the token."""
    token = token_for(request, Action.READ)
    run = tokens.runs_of(token).filter(pk=run_id).first()
    if run is None:
        raise ProblemError("not_found")
    return RunState.of(run)


def _words(run: Run) -> str:
    return RunState.of(run).model_dump_json()


def _enqueue(run_id: int) -> None:
    enqueue_runs([run_id])
