"""Why a run becomes no message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integrations.core.sentences import Sentence, SentenceError

if TYPE_CHECKING:
    from integrations.clients.wecom.builders import MessageError


class RenderingError(SentenceError):
    """This cannot become a message."""

    @classmethod
    def of(cls, error: MessageError) -> RenderingError:
        """Of a value that WeCom would refuse, with its reason."""
        return cls(Sentence("This cannot be a message: %(reason)s") % {"reason": error})


class NotWorthSending(SentenceError):  # noqa: N818  # no error: as the subscription asks
    """The run is not sent."""
