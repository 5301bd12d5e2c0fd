"""Pages of operation: the state of operation, the engine's panel on the overview, pages for monitors, the error page.

Load balancers use /healthz/ready (integrations.views), which does not depend on the engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe
from django.views.defaults import server_error
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from accounts.models import User
from accounts.users.roles import sees_all
from accounts.views import confirmation
from guanwecom.operations import health, installation, support_bundle
from guanwecom.operations.health import EngineExplanation, ProcessGroup
from guanwecom.operations.middleware import PAGE_HEADERS
from guanwecom.operations.monitoring import EngineCollector
from integrations.core.background import database_now, is_database_away
from integrations.core.hooks import Line
from integrations.core.http import mark_without_session
from integrations.models import Installation
from notifications.api import problems
from notifications.api.problems import ROOTS
from notifications.models import MakerQueue


def require_superuser(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Admit superusers only, and ask them to confirm their identity before a POST."""

    @wraps(view)
    def check_rights(request: HttpRequest) -> HttpResponse:
        if not request.user.is_superuser:
            raise PermissionDenied
        answer = confirmation.ask_for_confirmation(request) if request.method == "POST" else None
        return view(request) if answer is None else answer

    return check_rights


@require_superuser
@require_POST
def confirm_installation(request: HttpRequest) -> HttpResponse:
    """Mark this copy of the database as the real installation."""
    count = installation.mark_as_installation()
    if count is None:
        messages.info(request, _("This was the real installation already."))
    else:
        text = ngettext(
            "This is the real installation now. %(count)d run that had waited was ended, and is not sent.",
            "This is the real installation now. %(count)d runs that had waited were ended, and are not sent.",
            count,
        )
        messages.success(request, text % {"count": count})
    return HttpResponseRedirect(reverse("admin:index"))


@require_safe
def show_operation(request: HttpRequest) -> HttpResponse:
    """Show the processes to people who may see the site's settings; superusers can download the support bundle."""
    if not any(request.user.has_perm(f"integrations.{verb}_siteaddress") for verb in ("view", "change")):
        raise PermissionDenied
    request.current_app = admin.site.name  # as Django's own admin views do
    context = {
        **admin.site.each_context(request),
        "title": _("State of operation"),
        "engine": build_panel(request.user),
    }
    return TemplateResponse(request, "admin/maintenance.html", context)


@require_superuser
@require_POST
def download_support_bundle(_request: HttpRequest) -> HttpResponse:
    """Answer with the support bundle, a zip file."""
    file_name = f"guanwecom-support-{timezone.localtime():%Y%m%d-%H%M}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"', "Cache-Control": "no-store"}
    return HttpResponse(support_bundle.build_bundle(), content_type="application/zip", headers=headers)


@dataclass(frozen=True)
class EnginePanel:
    """The state of the push engine. `lines` and `explanations`: for administrators of all companies. `sentence`: a
    summary for everybody; empty if all is well. `may_confirm`: whether the person may mark this copy as the real
    installation."""

    lines: list[Line]
    explanations: list[EngineExplanation]
    sentence: str = ""
    may_confirm: bool = False


def build_panel(person: User | AnonymousUser) -> EnginePanel | None:
    """Return the panel; None without rights to pushes, and for administrators of some companies while all is well."""
    if not person.has_perm("notifications.view_delivery"):
        return None
    state = health.read_state()
    if not sees_all(person):
        if not state.problems:
            return None
        if state.is_copy:
            return EnginePanel([], [], _("This is a copy of the installation: nothing is sent from here."))
        return EnginePanel(
            [], [], _("Pushes have stopped: a background process is not running. Tell a system administrator.")
        )
    lines = [Line(_("Beat (the clock)"), *_describe_processes(state.beat))]
    lines += [Line(_("Queue %(queue)s") % {"queue": queue.name}, *_describe_processes(queue)) for queue in state.queues]
    if state.mail_door.process_count or state.mail_door.is_failing:
        lines.append(Line(_("Mail door"), *_describe_processes(state.mail_door)))
    age = _("never") if state.tick_seconds is None else _format_age(state.tick_seconds)
    lines.append(Line(_("Last tick"), age, "bad" if state.is_tick_old else "good"))
    count, overdue = state.overdue_count, "0"
    if count:
        words = {"count": count, "time": health.format_duration(state.overdue_seconds)}
        overdue = _("%(count)d, the oldest for %(time)s") % words
    lines.append(Line(_("Overdue times"), overdue, "bad" if count else "good"))
    made_at = Installation.objects.values_list("backed_up_at", flat=True).first()
    age = _format_age((database_now() - made_at).total_seconds()) if made_at else _("never")
    lines += [Line(_("Last backup"), age), Line(_("Version"), settings.VERSION)]
    sentence = ""
    if state.problems:
        sentence = _("Pushes have stopped or come late: background processes need attention.")
    if state.is_copy:
        sentence = _("This is a copy of the installation: nothing is sent from here.")
    explanations = health.explain_problems(state)
    return EnginePanel(lines, explanations, sentence, may_confirm=state.is_copy and person.is_superuser)


def _describe_processes(group: ProcessGroup) -> tuple[str, str]:
    if group.process_count:
        text = ngettext("%(count)d running", "%(count)d running", group.process_count)
        return text % {"count": group.process_count}, "good"
    if group.is_failing:
        return _("not running"), "bad"
    if group.name == MakerQueue.SNAPSHOTS:
        return _("not served: start the worker of snapshots for pictures of the BI's pages"), "quiet"
    return _("not served: start the worker of charts for pictures and files"), "quiet"


def _format_age(seconds: float) -> str:
    return _("%(time)s ago") % {"time": health.format_duration(seconds)}


def show_failure(request: HttpRequest) -> HttpResponse:
    """Show the page for an uncaught error: 503 while the database is unreachable, else 500."""
    if not is_database_away(sys.exc_info()[1]):
        return server_error(request)
    with translation.override(translation.get_language_from_request(request)):
        headers = {**PAGE_HEADERS, "Retry-After": "10"}
        if request.path_info.startswith(ROOTS):
            return problems.make_response(problems.ProblemError("unavailable", headers=headers))
        return HttpResponse(render_to_string("database_away.html"), status=503, headers=headers)


def require_token(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer 404 if METRICS_TOKEN is not set, and 401 to requests without `Authorization: Bearer <METRICS_TOKEN>`."""

    @wraps(view)
    def check_token(request: HttpRequest) -> HttpResponse:
        if not settings.METRICS_TOKEN:
            raise Http404
        if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
            return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
        return view(request)

    return check_token


@mark_without_session
@require_GET
@require_token
def serve_metrics(_request: HttpRequest) -> HttpResponse:
    """Answer with all metrics for Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(EngineCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


@mark_without_session
@never_cache
@require_safe
@require_token
def show_engine_state(_request: HttpRequest) -> JsonResponse:
    """Answer with the engine's state as JSON: 200 if there is no problem, else 503."""
    try:
        state = health.read_state()
    except Error:
        return JsonResponse({"status": "down", "problems": ["database"]}, status=503)
    return JsonResponse(health.describe_for_monitors(state), status=503 if state.problems else 200)
