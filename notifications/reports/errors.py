"""Why a report's template cannot be used, in a sentence for its author."""

from __future__ import annotations

from notifications.sentences import Sentence, SentenceError


class TemplateError(SentenceError):
    """`line` counts from 1; 0 where no line is to blame."""

    def __init__(self, line: int, reason: Sentence) -> None:
        at_line = Sentence("Line %(line)d: %(reason)s") % {"line": line, "reason": reason}
        super().__init__(at_line if line else reason)
        self.line = line


class ExpressionError(SentenceError):
    """What an expression of a template asked for cannot be had. The engine adds the line."""
