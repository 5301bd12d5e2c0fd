"""Assembles the API: resources, error handlers, OpenAPI document."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser

from notifications.api import alerts, incoming, subscriptions
from notifications.api.authentication import TokenAuth
from notifications.api.json_body import JSON, read_json
from notifications.api.message_schemas import MessageIn
from notifications.api.problems import CONTENT_TYPE, ProblemError, response

ERRORS_NAMED = 20


class JsonParser(Parser):
    """JSON as RFC 8259 has it, and only where the caller says that it is JSON."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != JSON:
            raise ProblemError("unsupported_media_type")
        return read_json(request.body)


class Api(NinjaAPI):
    """NinjaAPI whose document calls problems by their media type, and operations by their functions alone: what a
    client generates from it does not change when a module moves."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        # Ninja knows the bodies that it reads itself: that of a message may be JSON or a form.
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
        "Running subscriptions, seeing what became of it, sending messages, and checking alert rules. Tokens are made "
        "in the administration."
    ),
    auth=TokenAuth(),
    parser=JsonParser(),
    # No Swagger UI: it writes styles into its page, which the Content-Security-Policy forbids.
    docs_url=None,
)
api.add_router("/subscriptions", subscriptions.router)
api.add_router("/runs", subscriptions.runs_router)
api.add_router("/messages", incoming.router)
api.add_router("/uploads", incoming.uploads_router)
api.add_router("/alert-rules", alerts.router)


@api.exception_handler(ProblemError)
def refuse(_request: HttpRequest, error: ProblemError) -> HttpResponse:
    return response(error)


@api.exception_handler(HttpError)
def refuse_unparsed(_request: HttpRequest, error: HttpError) -> HttpResponse:
    """Ninja wraps what the parser raises."""
    cause = error.__cause__
    return response(cause if isinstance(cause, ProblemError) else ProblemError("malformed_request"))


@api.exception_handler(ValidationError)
def refuse_invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Where, and what is wrong there; never what was sent."""
    errors = [{"where": [str(part) for part in one["loc"]], "what": one["msg"]} for one in error.errors[:ERRORS_NAMED]]
    return response(ProblemError("invalid_request", more={"errors": errors}))


@api.exception_handler(Http404)
def refuse_unknown(_request: HttpRequest, _error: Http404) -> HttpResponse:
    return response(ProblemError("not_found"))
