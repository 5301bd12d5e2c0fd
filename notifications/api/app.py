"""The API: resources except `/messages` (notifications.api.incoming), error handlers, OpenAPI document."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import NinjaAPI, Status
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.params.functions import Header, Query
from ninja.parser import Parser

from integrations.core.background import database_now
from notifications.alerts import evaluation
from notifications.api import incoming, tokens
from notifications.api.problems import (
    CONTENT_TYPE,
    JSON,
    ProblemError,
    list_problem_responses,
    make_problem,
    make_response,
    read_json,
)
from notifications.api.schemas import (
    LARGEST_ID,
    CheckState,
    Id,
    MessageIn,
    RunRequest,
    RunState,
    SubscriptionItem,
    SubscriptionPage,
)
from notifications.api.tokens import Action, TokenAuth, read_client_address, require_token
from notifications.delivery.runs.triggers import (
    KEY_PATTERN,
    KeyReusedError,
    TriggerRefusedError,
    answer_once,
    compute_fingerprint,
    trigger_run,
)
from notifications.inbound.content import InboundError
from notifications.models import AlertRule, ApiToken, Run
from notifications.tasks import enqueue_runs

ERRORS_NAMED = 20
PAGE = 50
PAGE_AT_MOST = 200


class JsonParser(Parser):
    """Parses JSON strictly by RFC 8259 and requires its content type."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != JSON:
            raise ProblemError("unsupported_media_type")
        return read_json(request.body)


class Api(NinjaAPI):
    """NinjaAPI with problem details in its OpenAPI document and operation ids without module names, so that generated
    clients do not change when code moves."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        # Add the body of a message, which ninja does not parse itself: it is JSON or a form.
        message = MessageIn.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**message.pop("$defs"), "MessageIn": message}
        for methods in schema["paths"].values():
            for operation in methods.values():
                for status, answer in operation["responses"].items():
                    if int(status) >= 400:
                        answer["content"] = {CONTENT_TYPE: answer["content"][JSON]}
        return schema


api = Api(
    title="guanwecom",
    version="1",
    description=(
        "Run subscriptions and read the outcome, send messages, and check alert rules. Tokens are made in the "
        "administration."
    ),
    auth=TokenAuth(),
    parser=JsonParser(),
    # No Swagger UI: it uses inline styles, which the Content-Security-Policy forbids.
    docs_url=None,
)
api.add_router("", incoming.router)


@api.exception_handler(ProblemError)
@api.exception_handler(InboundError)
@api.exception_handler(KeyReusedError)
@api.exception_handler(ValidationError)
@api.exception_handler(HttpError)
@api.exception_handler(Http404)
def answer_error(_request: HttpRequest, error: Exception) -> HttpResponse:
    """Answer a call that raised `error` with the problem's details."""
    match error:
        case ProblemError():
            problem = error
        case InboundError():  # keep only the sentence about a refused file: the others are about channels
            problem = make_problem(error, detail=str(error) if error.code == "file_refused" else "")
        case KeyReusedError():
            problem = ProblemError("idempotency_key_reused")
        case ValidationError():  # say where the request is invalid and why, without the submitted values
            first = error.errors[:ERRORS_NAMED]
            errors = [{"where": [str(part) for part in one["loc"]], "what": one["msg"]} for one in first]
            problem = ProblemError("invalid_request", more={"errors": errors})
        case HttpError():  # ninja wraps errors of the parser
            cause = error.__cause__
            problem = cause if isinstance(cause, ProblemError) else ProblemError("malformed_request")
        case _:
            problem = ProblemError("not_found")
    return make_response(problem)


@api.get(
    "/subscriptions",
    response={200: SubscriptionPage, **list_problem_responses()},
    summary="The subscriptions that the token reaches",
    tags=["subscriptions"],
)
def list_subscriptions(
    request: HttpRequest,
    after: int = Query(0, ge=0, le=LARGEST_ID, description="Only those with a larger id"),
    limit: int = Query(PAGE, ge=1, le=PAGE_AT_MOST),
) -> SubscriptionPage:
    """List subscriptions by id. The cost of a page does not depend on their number."""
    token = require_token(request, Action.READ)
    found = tokens.find_subscriptions(token).filter(pk__gt=after).select_related("report").order_by("pk")
    rows = list(found[: limit + 1])
    items = [SubscriptionItem.from_subscription(row) for row in rows[:limit]]
    return SubscriptionPage(items=items, next_after=items[-1].id if len(rows) > limit else None)


@api.post(
    "/subscriptions/{int:subscription_id}/run",
    response={202: RunState, **list_problem_responses(400, 409, 415)},
    summary="Run a subscription now: by URL, or after a data update",
    tags=["subscriptions"],
)
def run_subscription(
    request: HttpRequest,
    subscription_id: Id,
    asked: RunRequest | None = None,
    idempotency_key: str | None = Header(
        None,
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="The same key with the same request within 24 hours gives the same answer and no second run.",
    ),
) -> HttpResponse:
    """Start a run and answer as soon as it is stored. Read its outcome at `/runs/{run_id}` (header `Location`). Answers
    409 if the subscription is disabled, not valid now, or has a run under way. The body is optional."""
    token = require_token(request, Action.RUN)
    subscription = get_object_or_404(tokens.find_subscriptions(token), pk=subscription_id)
    asked, now = asked or RunRequest(), database_now()

    def make() -> tuple[Run, str]:
        trigger = Run.Trigger(asked.trigger)
        run = trigger_run(subscription, token=token, trigger=trigger, ip=read_client_address(request), now=now)
        enqueue_runs([run.pk])
        return run, RunState.from_run(run).model_dump_json()

    fingerprint, key = compute_fingerprint("POST", request.path, asked.model_dump_json()), idempotency_key or ""
    try:
        run, answer, is_repeated = answer_once(token=token, key=key, fingerprint=fingerprint, now=now, make=make)
    except TriggerRefusedError as error:
        raise ProblemError(error.code, error.sentence) from error
    return incoming.answer_accepted(answer, is_repeated, reverse("api-1:get_run", args=[run.pk]))


@api.get(
    "/runs/{int:run_id}",
    response={200: RunState, **list_problem_responses()},
    url_name="get_run",
    summary="State and counts",
    tags=["runs"],
)
def get_run(request: HttpRequest, run_id: Id) -> RunState:
    """Return a run of any trigger if the token reaches its subscription."""
    token = require_token(request, Action.READ)
    # A run keeps the company for which it was made, even if the subscription's report belongs to another one now.
    runs = Run.objects.visible_to(token.owner).filter(subscription__in=tokens.find_subscriptions(token))
    return RunState.from_run(get_object_or_404(runs, pk=run_id))


@api.post(
    "/alert-rules/{int:rule_id}/check",
    response={202: CheckState, **list_problem_responses(409)},
    summary="Check an alert rule now: after a data update",
    tags=["alerts"],
)
def check_rule(request: HttpRequest, rule_id: Id) -> Status[CheckState]:
    """Start a check and answer as soon as it is stored. Answers 409 if the rule is disabled."""
    token = require_token(request, Action.ALERT)
    rules = AlertRule.objects.visible_to(token.owner)
    if token.reach == ApiToken.Reach.CORPS:
        rules = rules.filter(corp__in=token.corps.all())
    elif token.reach != ApiToken.Reach.EVERYTHING:  # a token for single pushes reaches no rule
        rules = rules.none()
    rule = get_object_or_404(rules, pk=rule_id)
    if not rule.is_enabled:
        raise ProblemError("rule_disabled")
    check = evaluation.request_check(rule, now=database_now())
    return Status(202, CheckState(rule_id=rule.pk, slot_at=check.slot_at))
