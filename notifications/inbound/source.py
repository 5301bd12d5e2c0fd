"""The source of an incoming message's run: what it says, and to whom."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from notifications.inbound.text import text_for
from notifications.models import IncomingMessage, Medium, MessageForm, Receipt, Run
from notifications.sources import Audience, Content, Figure, OneContent, ReadyMedium, Terms

if TYPE_CHECKING:
    from integrations.models import Corp, SiteAddress


# Of a text card, and of what goes out as one where the picture or file cannot be uploaded.
_NEEDING_TEXT = frozenset({MessageForm.TEXTCARD, MessageForm.NEWS, MessageForm.IMAGE, MessageForm.FILE})
_WITH_FIGURES = frozenset({MessageForm.TEXT_NOTICE, MessageForm.NEWS_NOTICE})


def source_of_message(run: Run) -> MessageSource | None:
    """For notifications.sources: None where the run is no incoming message's."""
    if run.message is None:
        return None
    row = Medium.objects.filter(run=run.first_sent).only("kind", "name").order_by("pk").first()
    medium = None if row is None else ReadyMedium(row.pk, Medium.Kind(row.kind), row.name)
    return MessageSource(run, run.message, medium)


def is_main_of(message: IncomingMessage, run: Run) -> bool:
    """Whether the run says the message itself, and not one of the files behind it."""
    return run.first_sent.key == f"message:{message.pk}"


class MessageSource:
    """The message itself, or a file that came with it; to the people whom its addresses named when it was accepted, or
    to those whom the run that it sends again did not reach."""

    def __init__(self, run: Run, message: IncomingMessage, medium: ReadyMedium | None) -> None:
        self._run, self._message, self._medium = run, message, medium
        self._is_file = not is_main_of(message, run)
        self.terms = Terms(self._form(), message.priority, message.lifetime_hours, message.corp_id)

    def _form(self) -> MessageForm:
        if not self._is_file or self._medium is None:
            return MessageForm(self._message.form)
        return MessageForm.IMAGE if self._medium.kind == Medium.Kind.PICTURE else MessageForm.FILE

    def audience(self) -> Audience:
        run, people = self._run, self._message.people.order_by().values("pk")
        if run.resends is not None:
            unreached = Receipt.objects.unreached(run.resends, mark=run.resends_mark, with_unknown=run.resends_unknown)
            people = people.filter(pk__in=unreached.values("user_id"))
        return Audience(user_ids=people, corp_id=self._message.corp_id)

    def contents(self, *, now: datetime) -> OneContent:
        message = self._message
        if self._is_file and self._medium is not None:
            return OneContent(
                Content(self._medium.name, self._plain(message.title), media=(self._medium,), link=message.link)
            )
        return OneContent(content_of(message, self.terms.form, self._medium))

    def _plain(self, words: str) -> str:
        return text_for(self.terms.form, words, IncomingMessage.Markup.PLAIN)

    def app_body(self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime) -> None:
        """As its message form says."""

    def note_unreached(self, reason: str) -> None:
        """Its run says it."""


def content_of(message: IncomingMessage, form: MessageForm, medium: ReadyMedium | None) -> Content:
    """What a message says in this form, with the picture or file that it carries itself."""
    title = text_for(form, message.title, IncomingMessage.Markup.PLAIN)
    words, figures = text_for(form, message.text, message.markup), message.figures
    if form not in _WITH_FIGURES:
        # These say them in their text.
        lines = [text_for(form, f"{caption}: {said}", IncomingMessage.Markup.PLAIN) for caption, said in figures]
        words, figures = "\n".join([*lines, words]).strip(), []
    return Content(
        title=message.title,
        text=words or (title if form in _NEEDING_TEXT else ""),
        figures=tuple(Figure(caption, said) for caption, said in figures),
        link=message.link,
        media=() if medium is None else (medium,),
    )
