"""The page that moves everybody of one WeCom company to another: first what it would mean, then the change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts import attributes, moving
from accounts.forms import MoveForm
from accounts.models import User, WeComAccount
from accounts.visibility import people_changeable_by
from integrations.panels import CorpAction

if TYPE_CHECKING:
    from integrations.models import Corp

    UserModelAdmin = admin.ModelAdmin[User]
else:
    UserModelAdmin = admin.ModelAdmin


def may_link(request: HttpRequest) -> bool:
    """Whether who asks may change people's two attributes at all; for whom, accounts.visibility says."""
    permissions = ("accounts.change_user", "accounts.change_wecomaccount")
    return request.user.has_perms(permissions) and attributes.have_appeared(request)


def move_action(request: HttpRequest, corp: Corp) -> CorpAction | None:
    """The link on a corp's page."""
    if not may_link(request):
        return None
    return CorpAction(_("Move people…"), f"{reverse('admin:accounts_user_move')}?{urlencode({'source': corp.pk})}")


def tell(request: HttpRequest, change: moving.Change, corp: Corp) -> None:
    """Say what became of a bulk change, and who was left as before, and why."""
    sentence = ngettext(
        "“%(corp)s” was set for %(count)d person.", "“%(corp)s” was set for %(count)d people.", change.changed_count
    )
    messages.success(request, sentence % {"corp": corp, "count": change.changed_count})
    for sentence in sentences_about_left(change, corp):
        messages.warning(request, sentence)


def sentences_about_left(change: moving.Change, corp: Corp) -> list[str]:
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


def _words(left: moving.Left, corp: Corp) -> dict[str, Any]:
    more = "…" if left.count > len(left.names) else ""
    return {"count": left.count, "corp": corp, "names": ", ".join(left.names) + more}


class MovePages(UserModelAdmin):
    """A part of UserAdmin."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.move_view)
        return [path("move/", view, name="accounts_user_move"), *super().get_urls()]

    def move_view(self, request: HttpRequest) -> HttpResponse:
        """GET: the choice of two companies and, once both are chosen, the preview. POST: the change."""
        if not may_link(request):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        form = MoveForm(given if "target" in given else None, initial=request.GET.dict(), person=request.user)
        is_complete = form.is_bound and form.is_valid()
        if is_complete and request.method == "POST":
            return self._move(request, form.cleaned_data["source"], form.cleaned_data["target"])
        context = {
            **self.admin_site.each_context(request),
            "title": _("Move people to another company"),
            "opts": self.opts,
            "form": form,
            **(_preview(request, **form.cleaned_data) if is_complete else {}),
        }
        request.current_app = self.admin_site.name  # as Django's own admin views do
        return TemplateResponse(request, "admin/accounts/user/move.html", context)

    def _move(self, request: HttpRequest, source: Corp, target: Corp) -> HttpResponse:
        change = moving.move_people(people=_changeable(request), source=source, target=target)
        tell(request, change, target)
        query = urlencode({"company": target.pk})
        return HttpResponseRedirect(f"{reverse('admin:accounts_user_changelist')}?{query}")


def _changeable(request: HttpRequest) -> Any:
    return people_changeable_by(request.user)


def _preview(request: HttpRequest, source: Corp, target: Corp) -> dict[str, Any]:
    change = moving.preview_of_move(people=_changeable(request), source=source, target=target)
    reached_count = change.changed_count + change.taken.count + change.there.count
    return {
        "source": source,
        "target": target,
        "change": change,
        "left": sentences_about_left(change, target),
        "untouched_count": WeComAccount.objects.filter(corp=source).count() - reached_count,
        "effects": moving.move_effects(source=source, target=target) if change.changed_count else [],
    }
