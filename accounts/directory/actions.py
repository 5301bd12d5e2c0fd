"""What the page of a company offers of its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils.translation import gettext as _

from integrations.panels import CorpAction

if TYPE_CHECKING:
    from django.http import HttpRequest

    from integrations.models import Corp

SYNC = "integrations.sync_directory"


def directory_action(request: HttpRequest, corp: Corp) -> CorpAction | None:
    """The link on a corp's page, for who may synchronise."""
    if not request.user.has_perm(SYNC):
        return None
    return CorpAction(_("Sync directory now"), reverse("admin:integrations_syncrun_start", args=[corp.pk]))
