"""Filters of the list of pushes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from notifications.models import Run, Subscription


class PushStateFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("enabled", _("enabled")),
            ("paused", _("paused")),
            ("failing", _("failing")),
            ("disabled", _("disabled")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> QuerySet[Subscription]:
        match self.value():
            case "enabled":
                return queryset.filter(is_enabled=True)
            case "paused":
                return queryset.filter(Q(is_paused=True) | Q(failures_paused_at__isnull=False, is_enabled=False))
            case "failing":
                return queryset.filter(is_failing())
            case "disabled":
                return queryset.filter(is_enabled=False)
            case _:
                return queryset


def is_failing() -> Q:
    """Those of which the newest run for everybody was missed, failed, or did not reach everybody."""
    whole = Run.objects.filter(subscription=OuterRef(OuterRef("pk"))).exclude(trigger__in=Run.PARTIAL)
    newest = Subquery(whole.order_by("-pk").values("pk")[:1])
    return Q(Exists(Run.objects.went_wrong().filter(pk=newest)))
