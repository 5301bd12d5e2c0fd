"""Section of a company's admin page for new credentials that WeCom has not confirmed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from integrations.admin.base import CorpPages
from integrations.companies import credentials
from integrations.core.queues import queue_on_commit
from integrations.models import Corp, StagedCredentials
from integrations.tasks import check_credentials

if TYPE_CHECKING:
    from integrations.admin.company_forms import NewCredentials


class CredentialPages(CorpPages):
    """Who may see the corp sees what became of new credentials; superusers have them checked again, or drop them."""

    def get_urls(self) -> list[URLPattern]:
        views = {
            ("credentials/check/", "credentials_check"): require_POST(self.credentials_check_view),
            ("credentials/discard/", "credentials_discard"): require_POST(self.credentials_discard_view),
        }
        return [*self._routes(views), *super().get_urls()]

    def stage_credentials(self, request: HttpRequest, corp: Corp, new: NewCredentials) -> None:
        """Keep what a superuser handed in, and have WeCom asked in the background."""
        staged = credentials.stage(
            corp=corp, agentid=new.agentid, secret=new.secret, by=str(request.user), now=timezone.now()
        )
        self.log_change(request, corp, gettext("New AgentId and Secret handed in."))
        messages.info(
            request, gettext("WeCom is asked to confirm the new AgentId and Secret. Until then the old ones serve.")
        )
        _queue(staged)

    def staged_panel(self, request: HttpRequest, corp: Corp) -> dict[str, Any]:
        return {"can_stage": request.user.is_superuser and self.has_change_permission(request, corp)}

    def credentials_check_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        corp = self._corp_of_superuser(request, corp_id)
        staged = credentials.check_again(corp=corp, now=timezone.now())
        if staged is None:
            messages.info(request, gettext("No new credentials wait any more."))
        else:
            _queue(staged)
        return self._to_page(corp, "credentials")

    def credentials_discard_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        corp = self._corp_of_superuser(request, corp_id)
        if credentials.discard(corp=corp):
            self.log_change(request, corp, gettext("New AgentId and Secret discarded."))
            messages.success(request, gettext("The new AgentId and Secret are discarded; the old ones go on serving."))
        else:
            messages.info(request, gettext("No new credentials wait any more."))
        return self._to_page(corp, "credentials")

    def _corp_of_superuser(self, request: HttpRequest, corp_id: int) -> Corp:
        corp = self._corp(request, corp_id, to_change=True)
        if not request.user.is_superuser:
            raise PermissionDenied
        return corp


def _queue(staged: StagedCredentials) -> None:
    """Without a broker they wait for beat, which looks every few seconds for what is due."""
    queue_on_commit(check_credentials, staged.pk, otherwise=lambda: None)
