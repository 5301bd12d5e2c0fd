"""Views for programs: WeCom fetches a file or calls back, a monitor asks. For them no session is read or written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from django.urls import Resolver404, resolve

if TYPE_CHECKING:
    from django.http import HttpRequest

_KNOWN = "_needs_no_session"
View = TypeVar("View", bound=Callable[..., object])


def without_session(view: View) -> View:
    """Mark a view whose answer is the same whoever is signed in."""
    view.is_without_session = True  # type: ignore[attr-defined]  # how Django marks views, too
    return view


def needs_no_session(request: HttpRequest) -> bool:
    """Whether the request is for a marked view. Why by the path? Middleware asks before any view is chosen."""
    known: bool | None = getattr(request, _KNOWN, None)  # several ask, and going through all addresses takes long
    if known is None:
        known = _is_marked(request.path_info)
        setattr(request, _KNOWN, known)
    return known


def _is_marked(path: str) -> bool:
    try:
        view = resolve(path).func
    except Resolver404:
        return False
    return getattr(view, "is_without_session", False)
