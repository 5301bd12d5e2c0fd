"""What Django reads of all catalogues, merged: of two apps that translate one text the earlier one wins."""

from __future__ import annotations

from django.utils.translation import gettext, ngettext, npgettext, override, pgettext

from tools.messages import LANGUAGE, ROOT, CatalogueFile

# The sandbox is a program of its own and merges nothing.
APPS = ("guanwecom", "integrations", "accounts", "notifications")


def test_no_other_app_translates_a_text_of_ours() -> None:
    """Libraries have texts such as `crontab`, too: theirs would stand in our pages."""
    lost = []
    with override("zh-hans"):
        for app in APPS:
            for message in CatalogueFile(app, LANGUAGE, ROOT).read():
                if not message.id:
                    continue
                wanted = message.string[0] if message.pluralizable else message.string
                context = message.context or ""
                if message.pluralizable:
                    read = npgettext(context, *message.id, 2) if context else _plain(*message.id)
                else:
                    read = pgettext(context, message.id) if context else _plain(message.id)
                lost += [f"{app}: {message.id!r} reads {read}, not {wanted}"] if read != wanted else []

    assert lost == []


def _plain(text: str, plural: str = "") -> str:
    return ngettext(text, plural, 2) if plural else gettext(text)
