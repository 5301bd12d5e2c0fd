"""Pictures and files of messages: by signed URL for WeCom and phones, by session on the message's page."""

from __future__ import annotations

import logging
import zlib
from typing import cast
from urllib.parse import quote

import redis
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from accounts.authentication.flow import find_network
from accounts.models import User
from integrations.core.http import mark_without_session
from integrations.core.redis import LIMIT_SECONDS, allows
from notifications.charts.drawing import recolour_for_dark
from notifications.delivery.attachments import find_linked_picture
from notifications.delivery.rendering.preview import find_medium_state
from notifications.delivery.spreadsheets import write_file_name
from notifications.models import Medium, Receipt

logger = logging.getLogger(__name__)

# Content-Security-Policy of pictures and files: they may not load resources, run scripts or be framed.
_CLOSED = {"default-src": ["'none'"], "style-src": ["'unsafe-inline'"], "frame-ancestors": ["'none'"], "sandbox": True}
# Limit per client address (IPv6: per /48) and minute. All phones of a company may share one address.
PICTURES_PER_ADDRESS = 3000
_TYPES = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "dark.svg": "image/svg+xml",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
}


@mark_without_session
@require_safe
def serve_picture(request: HttpRequest, signed: str) -> HttpResponse:
    """Return a message's picture to anybody with the signed URL. Raises Http404 once the URL has expired. The header
    Cache-Control: private keeps shared caches from serving the picture after that time."""
    address = f"pictures:address:{find_network(request) or 'unknown'}"
    try:
        is_allowed = allows(address, at_most=PICTURES_PER_ADDRESS)
    except redis.RedisError as error:
        logger.error("a fetched picture could not be counted: %s", type(error).__name__)
        is_allowed = False
    if not is_allowed:
        return HttpResponse(status=429, headers={"Retry-After": str(LIMIT_SECONDS)})
    medium = find_linked_picture(signed, now=timezone.now())
    if medium is None:
        raise Http404
    return _make_answer(
        bytes(medium.cover or medium.content),
        medium.content_type or _TYPES["png"],
        {
            "Cache-Control": "private, max-age=86400",
            "ETag": f'"{medium.digest[:32]}"',
            # WeCom's desktop client shows the picture inside a page of its own.
            "Cross-Origin-Resource-Policy": "cross-origin",
        },
    )


@require_safe
@login_required
@cache_control(private=True, no_store=True)
def serve_attachment(request: HttpRequest, mark: str, position: int, extension: str) -> HttpResponse:
    """Return a picture (svg, dark.svg or png) or file of a message to one of its recipients."""
    if not isinstance(request.user, User):
        raise Http404
    receipt = Receipt.objects.of_message(request.user, mark).first()
    delivery = None if receipt is None else receipt.delivery
    if delivery is None or position >= len(delivery.shown_media):
        raise Http404
    medium = Medium.objects.filter(pk=delivery.shown_media[position][0], status=Medium.Status.READY).first()
    if medium is None:
        raise Http404
    headers = {}
    if medium.kind != Medium.Kind.PICTURE:
        name = medium.name or write_file_name(delivery.title, delivery.created_at, extension)
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    return _answer_in_format(medium, extension, headers)


@require_safe
def answer_preview_state(request: HttpRequest, token: str) -> HttpResponse:
    """Return the progress of a preview's picture or file, or its URL once it is drawn."""
    medium, seconds, problem = _find_preview(request, token)
    if medium is None:
        return JsonResponse({"seconds": seconds, "problem": problem})
    extension = "svg" if medium.kind == Medium.Kind.PICTURE and not medium.name else medium.extension
    address = reverse("admin:notifications_preview_file", args=[token, extension])
    return JsonResponse({"address": address, "kind": medium.kind, "width": medium.width, "height": medium.height})


@require_safe
def serve_preview_file(request: HttpRequest, token: str, extension: str) -> HttpResponse:
    """Return the picture or file of a preview."""
    return answer_medium(_find_preview(request, token)[0], extension)


def _find_preview(request: HttpRequest, token: str) -> tuple[Medium | None, int, str]:
    """Return the state of a preview (`find_medium_state`) if the person may still write a push, report or rule."""
    user = request.user
    models = ("subscription", "report", "alertrule")
    if not any(user.has_perm(f"notifications.{verb}_{model}") for verb in ("add", "change") for model in models):
        raise PermissionDenied
    state = find_medium_state(token, by=cast("User", user), now=timezone.now())
    if state is None:
        raise Http404
    return state


def answer_medium(medium: Medium | None, extension: str) -> HttpResponse:
    """Return a picture or file that must not be cached, as the calling page decides who sees it. Raises Http404."""
    if medium is None or medium.status != Medium.Status.READY:
        raise Http404
    headers = {"Cache-Control": "private, no-store"}
    if medium.kind != Medium.Kind.PICTURE:
        headers["Content-Disposition"] = f'attachment; filename="preview.{extension}"'
    return _answer_in_format(medium, extension, headers)


def _answer_in_format(medium: Medium, extension: str, headers: dict[str, str]) -> HttpResponse:
    """Return the medium in this format. Raises Http404 if it has none."""
    if extension == medium.extension:
        content = bytes(medium.content)
    elif medium.kind == Medium.Kind.PICTURE and not medium.name and extension in {"svg", "dark.svg"}:
        svg = zlib.decompress(bytes(medium.svg))
        content = svg if extension == "svg" else recolour_for_dark(svg.decode()).encode()
    else:
        raise Http404
    return _make_answer(content, medium.content_type or _TYPES[extension], headers)


def _make_answer(content: bytes, content_type: str, headers: dict[str, str]) -> HttpResponse:
    always = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    response = HttpResponse(content, content_type=content_type, headers=always | headers)
    response._csp_replace = _CLOSED  # type: ignore[attr-defined]  # the place where django-csp looks
    return response
