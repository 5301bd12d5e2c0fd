"""What higher apps say about a company and its people. They register in AppConfig.ready()."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integrations.hooks import Hook, Provided, Registry

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import Model
    from django.utils.functional import _StrPromise

    from integrations.models import Corp
    from integrations.models.fields import Person


# --- The page of a company --------------------------------------------------------------------------------------------


# Asked while the confirmation page is shown: in whole sentences what disabling the corp would do, with how many people
# or rows it concerns. Quick, and writes nothing.
corp_disabling: Hook[[Corp], list[str]] = Hook()


@dataclass(frozen=True, slots=True)
class CallsRefused:
    """The refusal that the last real calls of a corp met. `errcode`: None where WeCom did not answer; `since`: when
    they began; `until`: before this time none can succeed; `waiting_count`: recipients of the messages that wait
    for it; a person counts once for each message.
    """

    errcode: int | None
    since: datetime | None = None
    until: datetime | None = None
    waiting_count: int = 0


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls with which a higher app sends messages.

    `find_refused`: those of these corps whose last calls were refused, by key, in a constant number of queries.
    `probe_at_once`: try again, since the corp's credentials were saved or it passed a check; now is by the database's
    clock.
    """

    find_refused: Callable[[Sequence[Corp], datetime], dict[int, CallsRefused]]
    probe_at_once: Callable[[int, datetime], None]


calls: Provided[Calls] = Provided()


# --- Pages that links of WeCom lead to --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LandingPage:
    """A page for employees, offered in the builder of deep links; `in_menu`: also in the menu written into WeCom.

    `path`: empty for where sign-in leads anyway. `label`: lazily translated, at most 16 bytes in every language where
    it stands in the menu (WeCom's limit). `is_offered`: asked each time, for a page that is not always there.
    """

    path: str
    label: str | _StrPromise
    in_menu: bool = False
    is_offered: Callable[[], bool] = lambda: True


landing_pages: Registry[LandingPage] = Registry()


def offered_landing_pages() -> list[LandingPage]:
    """Those that are there at the moment, in the order of their places."""
    return [page for page in landing_pages if page.is_offered()]


# --- The admin's index ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One fact on a corp's card of the admin's index: a word for it, its value, and where it leads.

    `tone`: good, warn, bad or quiet draws the value as a state; empty leaves it plain text.
    """

    label: str
    value: str
    tone: str = ""
    url: str = ""


@dataclass(frozen=True)
class Attention:
    """Something that an administrator should look at: a whole sentence, and the page where it can be dealt with."""

    sentence: str
    url: str
    tone: str = "bad"


# --- What accounts knows of people ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExternalId:
    """A value of people that can be their account in the BI.

    `of_all`: the value by the key of each of these people who has one that is theirs alone, in a fixed number of
    queries. `where`: the sentence that says where it is set. `caution`: what an administrator should think of, in whole
    sentences. `objection`: why it cannot be chosen now, as a sentence; empty where nothing is against it.
    """

    key: str
    label: str | _StrPromise
    where: str | _StrPromise
    of_all: Callable[[Collection[int]], dict[int, str]]
    caution: Callable[[], str] = str
    objection: Callable[[], str] = str

    def of(self, person: Person) -> str:
        """Of one person; empty where there is none."""
        return "" if person.pk is None else self.of_all([person.pk]).get(person.pk, "")


@dataclass(frozen=True, slots=True)
class Saved:
    """Who saved something last, and when. `by`: empty for the program itself, as a command on the server."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class People:
    """What accounts knows.

    `external_ids`: what can be chosen at the moment: attributes come and go. `whom_to_ask`: one sentence on who does
    what the person may not do, given the permission as app_label.codename and the ids of the companies for which it is
    needed. `rests_on_corpid`: whether rows say who somebody is by this corp's CorpId, which then stays. `shut_out`: in
    whole sentences why sign-in through the corp must not be switched off now. `last_saved`: who saved one of these
    rows, or parts on their pages, last since a time; None where nobody knows.
    """

    external_ids: Callable[[], list[ExternalId]]
    whom_to_ask: Callable[[Person, str, Collection[int] | None], str]
    rests_on_corpid: Callable[[Corp], bool]
    shut_out: Callable[[Corp], list[str]]
    last_saved: Callable[[Sequence[Model], datetime], Saved | None]


people: Provided[People] = Provided()


def external_id_of(key: str) -> ExternalId | None:
    """None for what is not there any more, such as a deleted attribute."""
    return next((one for one in people().external_ids() if one.key == key), None)


# --- A person of the directory gets another userid. Given: corp, old and new userid, both as WeCom spells them --------


class RenameRefusedError(Exception):
    """An event alone must not move what hangs on these userids: the member keeps the former one."""


# Told in the transaction that renames the member; perhaps of one it knows already. May raise RenameRefusedError.
member_renamed: Hook[[Corp, str, str], None] = Hook()
