"""Pages of their own for rows that one only reads, and for background runs that one watches while they go on."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET

from accounts.directory_admin import ReadOnly


class OwnPages(ReadOnly):
    """`folder`: of the templates."""

    folder: str

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name  # as Django's own admin views do
        whole = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **context}
        return TemplateResponse(request, f"{self.folder}/{template}", whole)


class RunPages(OwnPages):
    """A run's page, and what has changed on it while somebody looks. Both show `state` of the run."""

    def state(self, request: HttpRequest, run: Any) -> dict[str, Any]:
        """`html`, `is_unfinished`, and `parts` where the page has several, as integrations/live.js takes them."""
        raise NotImplementedError

    def around(self, request: HttpRequest, run: Any, state: dict[str, Any]) -> dict[str, Any]:
        """What run.html shows beside the state."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.state_view))
        name = f"{self.opts.app_label}_{self.opts.model_name}_state"
        return [path("<int:run_id>/state/", view, name=name), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None or request.method == "POST" or not self.has_view_permission(request, run):
            return super().change_view(request, object_id, form_url, extra_context)
        state = self.state(request, run)
        return self.page(request, "run.html", {"run": run, "state": state, **self.around(request, run, state)})

    def state_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """What has changed while one looks at the page."""
        return JsonResponse(self.state(request, self.run_of(request, run_id)))

    def run_of(self, request: HttpRequest, run_id: int) -> Any:
        """For who may see it."""
        run = self.get_object(request, str(run_id))
        if run is None:
            raise Http404
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        return run
