"""What each app adds to the pages of others. A process that shows no page needs none of it.

What works without pages, too, the apps register themselves in AppConfig.ready().
"""

from __future__ import annotations

from accounts.admin.security import unsent_attentions
from accounts.directory.hooks import directory_action, directory_attentions, directory_lines
from accounts.users import bi_identity
from accounts.users.companies import person_panels
from accounts.views.bi import home_entries
from accounts.views.errors import home_entries as asked_for_entries
from guanwecom.operations.monitoring import monitoring_attentions
from integrations.admin.diagnosis import connection_attentions, connection_lines, source_attentions
from integrations.core import hooks
from notifications.admin.dashboard import person_panel, push_attentions, push_lines

# As the overview shows them.
LINES = (connection_lines, directory_lines, push_lines)
ATTENTIONS = (
    *(monitoring_attentions, push_attentions),
    *(directory_attentions, bi_identity.attentions, unsent_attentions),
    *(connection_attentions, source_attentions),
)


def register() -> None:
    """Called once, by guanwecom.urls."""
    for line in LINES:
        hooks.index_lines.register(line)
    for attention in ATTENTIONS:
        hooks.attentions.register(attention)
    hooks.corp_actions.register(directory_action)
    asked_for_entries.register(home_entries)
    person_panels.register(person_panel)
