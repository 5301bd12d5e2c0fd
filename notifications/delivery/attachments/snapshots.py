"""Takes pictures of the BI's pages for messages, and decides which failures are worth another try.

While the BI is down nothing is lost: what waits for it is put off together, and one picture finds out whether it is
back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from integrations import bi
from integrations.bi import CannotEnter
from integrations.clients.snapshots import Reason, SnapshotError
from integrations.core.sentences import Sentence
from notifications.delivery.attachments import recipes
from notifications.delivery.attachments.recipes import Made, MediumError

if TYPE_CHECKING:
    from integrations.core.background import Clock

# A page has 60 s, and a browser that hangs 20 more (integrations.clients.snapshots); then the worker is killed.
SECONDS_AT_MOST = 90
# Until the next try. Longer than jobs.QUEUED, so that tasks in the queue see by their row that it was put off.
AGAIN_AFTER = timedelta(seconds=150)
# Before a message expires its words go without the picture.
WORDS_BEFORE = timedelta(minutes=10)

_SENTENCES = {
    Reason.NOT_INSTALLED: Sentence("The worker of the queue “snapshots” has no playwright, or finds no Chromium."),
    Reason.BROWSER_FAILED: Sentence("The browser failed while it drew the page."),
    Reason.UNREACHABLE: Sentence("The BI did not answer."),
    Reason.SIGN_IN_PAGE: Sentence("The BI asked for a password: it does not know the person, or not our key."),
    Reason.ERROR_PAGE: Sentence("The BI showed an error in place of the page."),
    Reason.EMPTY: Sentence("The page had nothing on it, or its cards look otherwise than the settings say."),
    Reason.NOT_DRAWN: Sentence("Not every card of the page had drawn after 60 seconds."),
    Reason.TOO_LARGE: Sentence("The page is too long for a picture, or its file too large."),
}
# Another try would find the same.
_FINAL = frozenset({Reason.SIGN_IN_PAGE, Reason.TOO_LARGE})


class PutOffError(Exception):
    """Not now. `concerns_all`: the others need not try before, and it was no try of its own, of which there are few."""

    def __init__(self, sentence: Sentence, *, concerns_all: bool) -> None:
        super().__init__(sentence.stored())
        self.sentence = sentence
        self.concerns_all = concerns_all


def make(recipe: bytes, *, clock: Clock) -> Made:
    """Raises MediumError for what no other try would mend, else PutOffError."""
    path, identity, options = recipes.page_of(recipe)
    try:
        picture = bi.take_picture(path, identity, options, now=clock())
    except CannotEnter as error:
        raise MediumError(Sentence("Nobody enters the BI from here, or its connection is not complete.")) from error
    except SnapshotError as error:
        sentence = _SENTENCES[error.reason]
        if error.reason in _FINAL:
            raise MediumError(sentence) from error
        raise PutOffError(sentence, concerns_all=error.reason == Reason.UNREACHABLE) from error
    return Made(picture.content, width=picture.width, height=picture.height, cover=picture.cover)
