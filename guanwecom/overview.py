"""Contributions of all apps to the admin's index. Loaded with the first index: these modules register with the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accounts.admin.security import unsent_attentions
from accounts.directory.hooks import directory_attentions, directory_lines
from accounts.users import bi_identity
from guanwecom.operations.monitoring import monitoring_attentions
from integrations.admin.diagnosis import connection_attentions, connection_lines, source_attentions
from notifications.admin.dashboard import push_attentions, push_lines
from notifications.views.overview import Overview, overview

if TYPE_CHECKING:
    from django.http import HttpRequest

LINES = (connection_lines, directory_lines, push_lines)
ATTENTIONS = (
    *(monitoring_attentions, push_attentions),
    *(directory_attentions, bi_identity.attentions, unsent_attentions),
    *(connection_attentions, source_attentions),
)


def whole_overview(request: HttpRequest) -> Overview:
    """Return the index for the request's user."""
    return overview(request, lines_of=LINES, attentions_of=ATTENTIONS)
