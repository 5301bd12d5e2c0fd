"""Why a report's template cannot be used, in a sentence for its author."""

from __future__ import annotations

from django.utils.translation import gettext as _


class TemplateError(Exception):
    """`line` counts from 1; 0 where no line is to blame. `reason`: a sentence in the language of whoever asked."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason

    def __str__(self) -> str:
        if not self.line:
            return self.reason
        return _("Line %(line)d: %(reason)s") % {"line": self.line, "reason": self.reason}


class ExpressionError(Exception):
    """What an expression of a template asked for cannot be had; the text is a sentence. The engine adds the line."""
