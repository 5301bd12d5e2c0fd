"""What higher apps say about a company and its people. They register in AppConfig.ready()."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integrations.hooks import Hook, Registry

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

    from integrations.models import Corp
    from integrations.models.fields import Person


# --- The page of a company --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CorpAction:
    """A link on a corp's page to something that another app does with it."""

    label: str
    url: str


# Asked when a corp's page is shown: the link for who asks, or None where that person may not do it.
corp_actions: Hook[[HttpRequest, Corp], CorpAction | None] = Hook()

# Asked while the confirmation page is shown: in whole sentences what disabling the corp would do, with how many people
# or rows it concerns. Quick, and writes nothing.
corp_disabling: Hook[[Corp], list[str]] = Hook()

# Asked before sign-in through a corp is switched off: in whole sentences why it must not be now.
sign_in_ending: Hook[[Corp], list[str]] = Hook()

# Asked whether rows of another app say who somebody is by this corp's CorpId, which then stays.
corpid_uses: Hook[[Corp], bool] = Hook()

# Asked once the first corp of all was enabled: what appears elsewhere, as HTML with its link.
first_corp_enabled: Hook[[HttpRequest], SafeString] = Hook()

# Told the id of each corp whose credentials were saved or that passed a check, and now by the database's clock: it may
# work again.
connection_mended: Hook[[int, datetime], None] = Hook()


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


# Asked for the corps of a page, and now: by key those whose last calls were refused. A constant number of queries.
calls_refused: Hook[[Sequence[Corp], datetime], dict[int, CallsRefused]] = Hook()


# --- Who does what a person may not do ------------------------------------------------------------------------------

# Asked for one sentence: the person, the permission as app_label.codename, and the ids of the companies for which it is
# needed, as accounts.users.roles.whom_to_ask takes them.
whom_to_ask: Hook[[Person, str, Collection[int] | None], str] = Hook()


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


# Both are given the corps that the person who asks may see, leave out what that person may not open, and take a
# constant number of queries. The lines stand by the corp's pk.
index_lines: Hook[[HttpRequest, Sequence[Corp]], dict[int, list[Line]]] = Hook()
attentions: Hook[[HttpRequest, Sequence[Corp]], list[Attention]] = Hook()


# --- Who a person is in the BI ----------------------------------------------------------------------------------------


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


# Asked what can be chosen at the moment: attributes come and go.
external_ids: Hook[[], list[ExternalId]] = Hook()


def external_id_of(key: str) -> ExternalId | None:
    """None for what is not there any more, such as a deleted attribute."""
    return next((one for one in external_ids.joined() if one.key == key), None)


# --- A person of the directory gets another userid. Given: corp, old and new userid, both as WeCom spells them --------

# Asked before: False where an event alone must not move what hangs on these userids.
member_renaming: Hook[[Corp, str, str], bool] = Hook()

# Told in the transaction that renames the member; perhaps of one it knows already.
member_renamed: Hook[[Corp, str, str], None] = Hook()
