"""The merged catalogues as Django reads them: if two apps translate one text, the earlier app wins."""

from babel.messages.catalog import Message
from django.utils.translation import gettext, ngettext, npgettext, override, pgettext

from tools.catalogues import LANGUAGE, ROOT, CatalogueFile

# The sandbox is a separate program and merges nothing.
APPS = ("guanwecom", "integrations", "accounts", "notifications")


def test_no_other_app_translates_a_text_of_ours() -> None:
    """Catch texts that libraries have too, such as `crontab`: their translation would appear in our pages."""
    with override("zh-hans"):
        lost = [
            f"{app}: {message.id!r} reads {read(message)}"
            for app in APPS
            for message in CatalogueFile(app, LANGUAGE, ROOT).read()
            if message.id and message.string not in (read(message), (read(message),))
        ]

    assert lost == []


def read(message: Message) -> str:
    """Return the translation as a page shows it. Chinese has one form for all numbers."""
    context = message.context
    if isinstance(message.id, str):
        return pgettext(context, message.id) if context else gettext(message.id)
    singular, plural = message.id
    return npgettext(context, singular, plural, 2) if context else ngettext(singular, plural, 2)
