"""What higher apps show on a person's page of the administration. They register in AppConfig.ready()."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integrations.hooks import Hook

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    from accounts.models import User

# Asked when a person's page is shown: a section as HTML, empty where who asks may not see any of it.
person_panels: Hook[[HttpRequest, User], SafeString] = Hook()
