"""Texts of Django's admin that its own Chinese catalogue lacks or says stiffly: ours takes precedence.

Nothing imports this; it is where tools/messages.py finds the texts.
"""

from django.utils.translation import gettext_noop, ngettext_lazy

TEXTS = (
    # Lacking.
    gettext_noop("Model name"),
    gettext_noop("Add link"),
    gettext_noop("Change or view list link"),
    gettext_noop("Error:"),
    ngettext_lazy(
        "This password is too short. It must contain at least %d character.",
        "This password is too short. It must contain at least %d characters.",
        "number",
    ),
    # Headings of pages, which Chinese says without a verb of selecting and without spaces between words.
    gettext_noop("Select %s"),
    gettext_noop("Select %s to change"),
    gettext_noop("Select %s to view"),
    gettext_noop("Add"),
    gettext_noop("Add %s"),
    gettext_noop("Change %s"),
    gettext_noop("View %s"),
    gettext_noop("Add %(name)s"),
    gettext_noop("%(app)s administration"),
    gettext_noop(" By %(filter_title)s "),
    gettext_noop("None available"),
)
