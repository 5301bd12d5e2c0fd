"""Names who is at work, for the audit trail and for sentences that say more to superusers."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from accounts.audit import services
from integrations.models import datasources


class AuditMiddleware:
    """Names the person and the address behind every change, and whether that person may learn what of the network
    answers. After AuthenticationMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with services.at_work(request), datasources.read_by(lambda: request.user.is_superuser):
            return self.get_response(request)
