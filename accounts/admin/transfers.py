"""Admin pages that move everybody from one company to another: preview, start, progress."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET

from accounts import tasks
from accounts.admin.user_forms import MoveForm
from accounts.directory import transfer_batches, transfers
from accounts.models import PeopleMove, User, WeComAccount
from accounts.users import attribute_definitions
from accounts.users.scopes import people_changeable_by
from integrations.admin.base import own_page
from integrations.core.generics import AnyModelAdmin
from integrations.core.hooks import CorpAction
from integrations.core.queues import queue_on_commit

if TYPE_CHECKING:
    from integrations.models import Corp


FOLDER = "admin/accounts/user"
MOVES_SHOWN = 10
_TONES = {PeopleMove.Status.DONE: "good", PeopleMove.Status.STOPPED: "bad"}


def may_link(request: HttpRequest) -> bool:
    """Whether who asks may change people's two attributes at all; for whom, accounts.users.scopes says."""
    return request.user.has_perms(transfers.PERMISSIONS) and attribute_definitions.have_appeared(request)


def move_action(request: HttpRequest, corp: Corp) -> CorpAction | None:
    """The link on a corp's page."""
    if not may_link(request):
        return None
    return CorpAction(_("Move people…"), f"{reverse('admin:accounts_user_move')}?{urlencode({'source': corp.pk})}")


def notify(request: HttpRequest, change: transfer_batches.Change, corp: Corp) -> None:
    """Say what became of a bulk change, and who was left as before, and why."""
    sentence = ngettext(
        "“%(corp)s” was set for %(count)d person.", "“%(corp)s” was set for %(count)d people.", change.changed_count
    )
    messages.success(request, sentence % {"corp": corp, "count": change.changed_count})
    for sentence in sentences_about_left(change, corp):
        messages.warning(request, sentence)


def sentences_about_left(change: transfer_batches.Change, corp: Corp) -> list[str]:
    """Who is left as before: one sentence for each reason that occurs."""
    sentences = []
    if change.taken.count:
        sentence = ngettext(
            "%(count)d person is left as before, because the WeCom account belongs to somebody else in "
            "“%(corp)s”: %(names)s",
            "%(count)d people are left as before, because the WeCom accounts belong to somebody else in "
            "“%(corp)s”: %(names)s",
            change.taken.count,
        )
        sentences.append(sentence % _words(change.taken, corp))
    if change.there.count:
        sentence = ngettext(
            "%(count)d person is left as before, because of another account in “%(corp)s”: %(names)s",
            "%(count)d people are left as before, because they have other accounts in “%(corp)s”: %(names)s",
            change.there.count,
        )
        sentences.append(sentence % _words(change.there, corp))
    return sentences


def _words(left: transfer_batches.Left, corp: Corp) -> dict[str, Any]:
    more = "…" if left.count > len(left.names) else ""
    return {"count": left.count, "corp": corp, "names": ", ".join(left.names) + more}


class MovePages(AnyModelAdmin):
    """A part of UserAdmin."""

    def get_urls(self) -> list[URLPattern]:
        views: list[tuple[str, Any, str]] = [
            ("move/", self.move_view, "move"),
            ("move/<int:move_id>/", require_GET(self.moved_view), "moved"),
            ("move/<int:move_id>/state/", require_GET(self.moved_state_view), "moved_state"),
        ]
        routes = [
            path(route, self.admin_site.admin_view(view), name=f"accounts_user_{name}") for route, view, name in views
        ]
        return [*routes, *super().get_urls()]

    def move_view(self, request: HttpRequest) -> HttpResponse:
        """GET: the choice of two companies and, once both are chosen, the preview. POST: ask for the move."""
        if not may_link(request):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        form = MoveForm(given if "target" in given else None, initial=request.GET.dict(), person=request.user)
        is_complete = form.is_bound and form.is_valid()
        if is_complete and request.method == "POST":
            return self._move(request, form.cleaned_data["source"], form.cleaned_data["target"])
        context = {
            "title": _("Move people to another company"),
            "form": form,
            "moves": _moves(request)[:MOVES_SHOWN],
            **(_preview(request, **form.cleaned_data) if is_complete else {}),
        }
        return own_page(self, request, f"{FOLDER}/move.html", context)

    def moved_view(self, request: HttpRequest, move_id: int) -> HttpResponse:
        """One move, while it is carried out and afterwards."""
        move = _move_or_404(request, move_id)
        url = reverse("admin:accounts_user_moved_state", args=[move.pk])
        context = {"title": str(move), "move": move, "state": _state(request, move), "state_url": url}
        return own_page(self, request, f"{FOLDER}/moved.html", context)

    def moved_state_view(self, request: HttpRequest, move_id: int) -> HttpResponse:
        """What has changed while one looks at the page."""
        return JsonResponse(_state(request, _move_or_404(request, move_id)))

    def _move(self, request: HttpRequest, source: Corp, target: Corp) -> HttpResponse:
        requested_by, ip = cast("User", request.user), request.META.get("REMOTE_ADDR") or None
        try:
            move, is_new = transfers.request_move(
                source=source, target=target, requested_by=requested_by, ip=ip, now=timezone.now()
            )
        except transfers.InTheWayError as error:
            messages.error(request, _in_the_way(request, error.move, source, target))
            query = urlencode({"source": source.pk, "target": target.pk})
            return HttpResponseRedirect(f"{reverse('admin:accounts_user_move')}?{query}")

        if not is_new:
            sentence = _("This move was asked for already, by %(person)s at %(time)s. This page shows how far it is.")
            messages.info(request, sentence % _request_of(move))

        message = _("The queue cannot be reached: the move begins as soon as it can.")
        queue_on_commit(tasks.move_people, move.pk, otherwise=partial(messages.warning, request, message))
        return HttpResponseRedirect(reverse("admin:accounts_user_moved", args=[move.pk]))


def _moves(request: HttpRequest) -> QuerySet[PeopleMove]:
    return PeopleMove.objects.visible_to(request.user).select_related("source", "target")


def _request_of(move: PeopleMove) -> dict[str, str]:
    return {"person": move.requested_by_name, "time": f"{timezone.localtime(move.requested_at):%Y-%m-%d %H:%M}"}


def _in_the_way(request: HttpRequest, move: PeopleMove, source: Corp, target: Corp) -> str:
    """Whose move it is, for those who see both of its companies."""
    if not _moves(request).filter(pk=move.pk).exists():
        sentence = _(
            "People are being moved into “%(source)s” or out of “%(target)s” at the moment. Wait until that is over."
        )
        return sentence % {"source": source, "target": target}
    sentence = _(
        "People are being moved from “%(source)s” to “%(target)s” at the moment, as %(person)s asked at %(time)s. "
        "Wait until that is over."
    )
    return sentence % {"source": move.source, "target": move.target, **_request_of(move)}


def _move_or_404(request: HttpRequest, move_id: int) -> PeopleMove:
    if not may_link(request):
        raise PermissionDenied
    return get_object_or_404(_moves(request), pk=move_id)


def _state(request: HttpRequest, move: PeopleMove) -> dict[str, Any]:
    context = {
        "move": move,
        "tone": _TONES.get(PeopleMove.Status(move.status), "quiet"),
        "left": sentences_about_left(transfers.change_of(move), move.target),
        "people_url": f"{reverse('admin:accounts_user_changelist')}?{urlencode({'company': move.target_id})}",
    }
    html = render_to_string(f"{FOLDER}/_move_state.html", context, request)
    return {"html": html, "is_unfinished": move.is_unfinished}


def _changeable(request: HttpRequest) -> Any:
    return people_changeable_by(request.user)


def _preview(request: HttpRequest, source: Corp, target: Corp) -> dict[str, Any]:
    change = transfer_batches.preview_of_move(people=_changeable(request), source=source, target=target)
    reached_count = change.changed_count + change.taken.count + change.there.count
    return {
        "source": source,
        "target": target,
        "change": change,
        "left": sentences_about_left(change, target),
        "untouched_count": WeComAccount.objects.filter(corp=source).count() - reached_count,
        "effects": transfer_batches.people_moving.joined(source, target) if change.changed_count else [],
    }
