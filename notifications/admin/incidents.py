"""Admin pages of incidents: list, filters, timeline and actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from integrations.admin.base import pill as tone_pill
from integrations.core.background import database_now
from notifications.admin.base import (
    CorpFilter,
    DayFilter,
    ReadOnlyAdmin,
    administrator,
    moment,
    run_pill,
    severity_pill,
)
from notifications.alerts import actions, charts, selectors
from notifications.alerts.actions import Action
from notifications.models import Incident
from notifications.views.media import made_answer

if TYPE_CHECKING:
    from notifications.models.alerts import IncidentQuerySet


class OpenedDayFilter(DayFilter):
    column = "opened_at"


class SourceFilter(admin.RelatedOnlyFieldListFilter):
    """The rules, or routes, of the incidents that one sees: also a single one, since others came from elsewhere."""

    include_empty_choice = False

    def has_output(self) -> bool:
        return bool(self.lookup_choices)


class StateFilter(admin.SimpleListFilter):
    """What the list says in colours. One that is silent may be taken or not."""

    title = _("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("open", Incident.Status.OPEN.label),
            ("untaken", _("nobody has taken it")),
            ("taken", pgettext_lazy("state of an incident", "taken")),
            ("silent", _("silent")),
            ("over", Incident.Status.RESOLVED.label),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        incidents = cast("IncidentQuerySet", queryset)  # the admin filters its own rows only
        match self.value():
            case "open":
                return incidents.open()
            case "untaken":
                return incidents.open().unacknowledged()
            case "taken":
                return incidents.open().filter(acknowledged_at__isnull=False)
            case "silent":
                return incidents.open().silent(timezone.now())
            case "over":
                return incidents.filter(status=Incident.Status.RESOLVED)
        return incidents


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    empty_list = _("What alerts tell of stands here: since when, who has taken it, and when it was over.")
    change_form_template = "admin/notifications/incident.html"
    list_display = ("title", "level", "state", "source_name", "starts", "ends", "acknowledger")
    list_filter = (
        *(StateFilter, "severity", "kind", OpenedDayFilter, CorpFilter),
        *(("rule", SourceFilter), ("channel", SourceFilter)),
    )
    list_select_related = ("channel", "rule", "acknowledged_by", "silenced_by")
    search_fields = ("title",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        return Incident.objects.visible_to(request.user)

    def get_urls(self) -> list[URLPattern]:
        act = self.admin_site.admin_view(require_POST(self.act_view))
        picture = self.admin_site.admin_view(require_safe(self.picture_view))
        ours = [
            path("<int:pk>/act/", act, name="notifications_incident_act"),
            path("<int:pk>/<int:picture>.<str:extension>", picture, name="notifications_incident_picture"),
        ]
        return [*ours, *super().get_urls()]

    @admin.display(description=_("severity"), ordering="severity")
    def level(self, incident: Incident) -> SafeString:
        return severity_pill(incident.severity, incident.get_severity_display())

    @admin.display(description=_("status"), ordering="status")
    def state(self, incident: Incident) -> SafeString:
        now = timezone.now()
        tone = selectors.tone_of(incident, now) or "quiet"
        words = incident.get_status_display()
        if incident.is_open and incident.is_silenced(now):
            words = gettext("silent")
        elif incident.is_open and incident.acknowledged_at is not None:
            words = pgettext("state of an incident", "taken")
        return tone_pill(tone, words)

    @admin.display(description=_("from"))
    def source_name(self, incident: Incident) -> str:
        return str(incident.source or "—")

    @admin.display(description=_("began"), ordering="starts_at")
    def starts(self, incident: Incident) -> str:
        return moment(incident.starts_at)

    @admin.display(description=_("ended"), ordering="ends_at")
    def ends(self, incident: Incident) -> str:
        return moment(incident.ends_at)

    @admin.display(description=_("taken by"))
    def acknowledger(self, incident: Incident) -> str:
        return str(incident.acknowledged_by or "—")

    def row_context(self, request: HttpRequest, incident: Incident) -> dict[str, Any]:
        person, now = administrator(request), database_now()
        return {
            "title": incident.title,
            "incident": incident,
            "shown": selectors.shown(incident, person=person, now=now),
            "pictures": charts.shown(incident, person=person, now=now),
            "labels": list(incident.labels.items()),
            "timeline": selectors.timeline(incident),
            "severity": self.level(incident),
            "notices": [
                {"notice": one, "state": run_pill(one.run)}
                for one in incident.notices.select_related("run").order_by("pk")
            ],
            "can_act": incident.is_open and request.user.has_perm("notifications.change_incident"),
        }

    def picture_view(self, request: HttpRequest, pk: int, picture: int, extension: str) -> HttpResponse:
        """A picture (svg or png) of the data."""
        incident = self.get_queryset(request).filter(pk=pk).first()
        if not self.has_view_permission(request, incident):
            raise PermissionDenied
        if incident is None:
            raise Http404
        medium = charts.picture_of(incident, picture, person=administrator(request))
        return made_answer(medium, extension)

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take, take over, silence, end a silence or close it by hand."""
        if not self.get_queryset(request).filter(pk=pk).exists():
            raise Http404
        if not request.user.has_perm("notifications.change_incident"):
            raise PermissionDenied
        if request.POST.get("action") not in set(Action):
            return HttpResponseBadRequest()
        done = actions.act(Action(request.POST["action"]), [pk], person=administrator(request), now=database_now())
        if done.changed:
            messages.success(request, gettext("Done. The cards on people's phones are changed, too."))
        else:
            messages.info(request, gettext("Nothing to do: somebody was faster, or it is over."))
        return HttpResponseRedirect(reverse("admin:notifications_incident_change", args=[pk]))
