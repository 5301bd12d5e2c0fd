"""When people have the two attributes: from the first enabling of a WeCom company on, for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from integrations.models import Corp

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

_REMEMBERED = "guanwecom.wecom_attributes"


def have_appeared(request: HttpRequest) -> bool:
    """One query for each request, however many parts of the page ask."""
    if _REMEMBERED not in request.META:
        request.META[_REMEMBERED] = Corp.objects.ever_enabled().exists()
    return bool(request.META[_REMEMBERED])


def notice_of_first_enabling(request: HttpRequest) -> SafeString:
    """What enabling the first company brings, with the way there for those who may see people."""
    words = _("People now have two attributes: “WeCom company name” and “WeCom account”.")
    if not request.user.has_perm("accounts.view_user"):
        return format_html("{}", words)
    return format_html('{} <a href="{}">{}</a>', words, reverse("admin:accounts_user_changelist"), _("Set them"))
