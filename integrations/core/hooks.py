"""Questions of this app to higher apps about a company and its people; they register answers in AppConfig.ready()."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integrations.hooks import Hook, Registry, SingleProvider

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import Model
    from django.utils.functional import _StrPromise

    from integrations.models import Corp
    from integrations.models.fields import Person


# --- The page of a company --------------------------------------------------------------------------------------------

# Called when the page that confirms disabling a corp is shown. Returns whole sentences on what it would do, with the
# number of people or rows. It must be quick and write nothing.
corp_disabling: Hook[[Corp], list[str]] = Hook()


@dataclass(frozen=True, slots=True)
class CallsRefused:
    """The refusal of a corp's last calls. `errcode`: None if WeCom did not answer; `since`: when the refusals began;
    `until`: no call can succeed before; `waiting_count`: recipients of waiting messages, counted once per message.
    """

    errcode: int | None
    since: datetime | None = None
    until: datetime | None = None
    waiting_count: int = 0


@dataclass(frozen=True, slots=True)
class Calls:
    """Functions of notifications about the calls that send its messages.

    `find_refused`: map the keys of those corps whose last calls were refused to the refusals, in a constant number of
    queries. `probe_company_at_once`: try again, because the corp's credentials were saved or it passed a check; the
    time is the database's. `find_newest_success`: map the corps' keys to the newest success since a time and the number
    of recipients since then.
    """

    find_refused: Callable[[Sequence[Corp], datetime], dict[int, CallsRefused]]
    probe_company_at_once: Callable[[int, datetime], None]
    find_newest_success: Callable[[Sequence[int], datetime], dict[int, tuple[datetime, int]]]


calls: SingleProvider[Calls] = SingleProvider()


# --- Pages that links in WeCom lead to --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LandingPage:
    """A page for employees, offered in the builder of deep links; `in_menu`: also in the menu of the application.

    `path`: empty for the page after sign-in. `label`: lazily translated, in a menu at most 16 bytes in every language
    (WeCom's limit). `is_offered`: called each time, for a page that is not always available.
    """

    path: str
    label: str | _StrPromise
    in_menu: bool = False
    is_offered: Callable[[], bool] = lambda: True


landing_pages: Registry[LandingPage] = Registry()


def list_offered_landing_pages() -> list[LandingPage]:
    """Return the pages available at the moment, in order."""
    return [page for page in landing_pages if page.is_offered()]


# --- The admin's index ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A fact in a corp's row on the admin's index: label, value and link.

    `tone`: good, warn, bad or quiet draws the value as a state; empty leaves it plain text. `is_main`: always shown.
    """

    label: str
    value: str
    tone: str = ""
    url: str = ""
    is_main: bool = False


@dataclass(frozen=True)
class Attention:
    """A problem that an administrator should look at: a whole sentence, and the page where it can be solved."""

    sentence: str
    url: str
    tone: str = "bad"


# --- What accounts knows about people ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExternalId:
    """A value of people that can be their account in the BI.

    `find_values`: map people's keys to their values, if these are theirs alone, in a fixed number of queries.
    `where`: the sentence on where it is set. `caution`: what an administrator should consider, in whole sentences.
    `objection`: why it cannot be chosen now, as a sentence; empty if it can.
    """

    key: str
    label: str | _StrPromise
    where: str | _StrPromise
    find_values: Callable[[Collection[int]], dict[int, str]]
    caution: Callable[[], str] = str
    objection: Callable[[], str] = str

    def find_value(self, person: Person) -> str:
        """Return the value of one person; empty if there is none."""
        return "" if person.pk is None else self.find_values([person.pk]).get(person.pk, "")


@dataclass(frozen=True, slots=True)
class LastSave:
    """The person who saved last, and when. `by`: empty for the program itself, such as a command on the server."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class People:
    """Functions of accounts about people.

    `list_external_ids`: return the values that can be chosen now; attributes come and go. `describe_contacts`: return
    a sentence on whom the person can ask for a permission (app_label.codename), for companies with these ids.
    `is_corpid_in_use`: whether rows identify people by this corp's CorpId, which then cannot change.
    `warn_before_shutting_out`: return sentences on why sign-in through the corp must not be switched off now.
    `find_last_save`: return who last saved one of these rows, or related rows of their pages, since a time, or None.
    """

    list_external_ids: Callable[[], list[ExternalId]]
    describe_contacts: Callable[[Person, str, Collection[int] | None], str]
    is_corpid_in_use: Callable[[Corp], bool]
    warn_before_shutting_out: Callable[[Corp], list[str]]
    find_last_save: Callable[[Sequence[Model], datetime], LastSave | None]


people: SingleProvider[People] = SingleProvider()


def find_external_id_by_key(key: str) -> ExternalId | None:
    """Return the value with this key; None if it no longer exists, such as a deleted attribute."""
    return next((one for one in people().list_external_ids() if one.key == key), None)


# --- A member gets another userid. Arguments: corp, old and new userid, both in WeCom's spelling ----------------------


class RenameRefusedError(Exception):
    """The rename is not applied: an event alone must not move the account of somebody in the administration."""


# Called in the transaction that renames the member, maybe again for a known rename. May raise RenameRefusedError.
member_renamed: Hook[[Corp, str, str], None] = Hook()
