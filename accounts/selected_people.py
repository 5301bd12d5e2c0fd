"""What actions for people selected in the list have in common: whom one may change, and the page that asks first."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.models import User
from accounts.visibility import people_changeable_by


def changeable_of(selected: QuerySet[User], editor: User) -> QuerySet[User]:
    """Those of the selected people whom `editor` may change."""
    changeable = people_changeable_by(editor)
    return User.objects.filter(pk__in=selected.order_by().values("pk")).filter(pk__in=changeable.values("pk"))


def ask(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    *,
    action: str,
    selected: QuerySet[User],
    people: QuerySet[User],
    **shown: Any,
) -> HttpResponse:
    """The page of `action`, which sends the selection back to it. `people`: those of `selected` who are changed."""
    people_count = people.count()
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "action": action,
        "people_count": people_count,
        "left_out_count": selected.count() - people_count,
        "selected": request.POST.getlist("_selected_action"),
        "select_across": request.POST.get("select_across", "0"),
        **shown,
    }
    return TemplateResponse(request, f"admin/accounts/user/{action}.html", context)
