"""What higher apps add to the page of a corp. They register in AppConfig.ready(): integrations imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integrations.models import Corp

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

    from integrations.models import Corp
    from integrations.models.scoping import Person


@dataclass(frozen=True)
class CorpAction:
    """A link on a corp's page to something that another app does with it."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class LandingPage:
    """A page for employees that a link of WeCom may lead to. `path` is empty for where sign-in leads anyway."""

    path: str
    label: str | _StrPromise
    in_menu: bool
    is_offered: Callable[[], bool]


DisableEffect = Callable[["Corp"], list[str]]
CorpActionProvider = Callable[["HttpRequest", "Corp"], CorpAction | None]
FirstEnablingNotice = Callable[["HttpRequest"], "SafeString"]

_disable_effects: list[DisableEffect] = []
_corp_actions: list[CorpActionProvider] = []
_first_enabling_notices: list[FirstEnablingNotice] = []
_landing_pages: list[LandingPage] = []
_corpid_users: list[Callable[[Corp], bool]] = []
_sign_in_guards: list[Callable[[Corp], list[str]]] = []
ConnectionListener = Callable[[int, "datetime"], None]
_connection_listeners: list[ConnectionListener] = []


def register_disable_effect(effect: DisableEffect) -> None:
    """`effect` says in whole sentences what disabling a corp would do, with how many people or rows it concerns.

    Called while the confirmation page is shown, so it must be quick and must not write.
    """
    if effect not in _disable_effects:
        _disable_effects.append(effect)


def disable_effects(corp: Corp) -> list[str]:
    """The sentences of every registered effect, in the order of registration."""
    return [sentence for effect in _disable_effects for sentence in effect(corp)]


def register_sign_in_guard(guard: Callable[[Corp], list[str]]) -> None:
    """`guard` says in whole sentences why sign-in through a corp must not be switched off now; nothing where it may."""
    if guard not in _sign_in_guards:
        _sign_in_guards.append(guard)


def reasons_against_ending_sign_in(corp: Corp) -> list[str]:
    """The sentences of every registered guard, in the order of registration."""
    return [sentence for guard in _sign_in_guards for sentence in guard(corp)]


def register_connection_listener(listener: ConnectionListener) -> None:
    """`listener` is told of each corp whose credentials were saved or that passed a check: its id, and now by the
    database's clock."""
    if listener not in _connection_listeners:
        _connection_listeners.append(listener)


def connection_mended(corp_id: int, now: datetime) -> None:
    """Tell every registered listener that the corp may work again."""
    for listener in _connection_listeners:
        listener(corp_id, now)


def register_corp_action(provider: CorpActionProvider) -> None:
    """`provider` gives the link for who asks and this corp, or None where that person may not do it."""
    if provider not in _corp_actions:
        _corp_actions.append(provider)


def corp_actions(request: HttpRequest, corp: Corp) -> list[CorpAction]:
    """What the person who asks may do with `corp` in other apps, in the order of registration."""
    found = [provider(request, corp) for provider in _corp_actions]
    return [action for action in found if action is not None]


def register_first_enabling_notice(notice: FirstEnablingNotice) -> None:
    """`notice` says what appears elsewhere once a corp was enabled for the first time, as HTML with its link."""
    if notice not in _first_enabling_notices:
        _first_enabling_notices.append(notice)


def first_enabling_notices(request: HttpRequest) -> list[SafeString]:
    """What to tell the person who has just enabled the first corp of all."""
    return [notice(request) for notice in _first_enabling_notices]


def register_corpid_user(is_used: Callable[[Corp], bool]) -> None:
    """`is_used(corp)` says whether rows of another app say who somebody is by that corp's CorpId."""
    if is_used not in _corpid_users:
        _corpid_users.append(is_used)


def is_corpid_used(corp: Corp) -> bool:
    """Whether another CorpId would point people of other apps at other people of WeCom."""
    return any(is_used(corp) for is_used in _corpid_users)


def register_landing_page(
    *, path: str, label: str | _StrPromise, in_menu: bool = False, is_offered: Callable[[], bool] = lambda: True
) -> None:
    """Offer a page in the builder of deep links; `in_menu`: also in the menu that is written into WeCom.

    `label`: lazily translated, at most 16 bytes in every language where it stands in the menu (WeCom's limit).
    `is_offered`: asked each time, for a page that is not always there.
    """
    page = LandingPage(path, label, in_menu, is_offered)
    if all(known.path != path for known in _landing_pages):
        _landing_pages.append(page)


def landing_pages() -> list[LandingPage]:
    """Every registered page that is offered now, in the order of registration."""
    return [page for page in _landing_pages if page.is_offered()]


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


IndexCardProvider = Callable[["HttpRequest", "Sequence[Corp]"], "dict[int, list[Line]]"]
AttentionProvider = Callable[["HttpRequest", "Sequence[Corp]"], "list[Attention]"]

_index_cards: dict[IndexCardProvider, int] = {}
_attentions: list[AttentionProvider] = []


def register_index_card(provider: IndexCardProvider, *, place: int = 10) -> None:
    """`provider` gives the lines of each corp's card by the corp's pk, in a constant number of queries.

    It is given the corps that the person who asks may see, and leaves out what that person may not open. `place`: the
    lowest stand first; of one place, in the order of registration.
    """
    _index_cards.setdefault(provider, place)


def index_lines(request: HttpRequest, corps: Sequence[Corp]) -> dict[int, list[Line]]:
    """The lines of every registered provider by the corp's pk."""
    lines: dict[int, list[Line]] = {corp.pk: [] for corp in corps}
    for provider in sorted(_index_cards, key=_index_cards.__getitem__):
        for pk, found in provider(request, corps).items():
            lines[pk] += found
    return lines


def register_attention(provider: AttentionProvider) -> None:
    """`provider` says what needs attention, under the rules of register_index_card."""
    if provider not in _attentions:
        _attentions.append(provider)


def attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """What every registered provider found, in the order of registration."""
    return [item for provider in _attentions for item in provider(request, corps)]


# --- Who a person is in the BI. Asked here by key; answered by the app that knows the person ---


@dataclass(frozen=True, slots=True)
class ExternalId:
    """A value of people that can be their account in the BI.

    `of`: the value for one person, empty where there is none that is theirs alone. `where`: the sentence that says
    where it is set. `caution`: what an administrator should think of, in whole sentences. `objection`: why it cannot be
    chosen now, as a sentence; empty where nothing is against it.
    """

    key: str
    label: str | _StrPromise
    where: str | _StrPromise
    of: Callable[[Person], str]
    caution: Callable[[], str] = str
    objection: Callable[[], str] = str


Provider = Callable[[], list[ExternalId]]
_providers: list[Provider] = []


def register(provider: Provider) -> None:
    """`provider` gives what can be chosen at the moment: attributes come and go."""
    if provider not in _providers:
        _providers.append(provider)


def choices() -> list[ExternalId]:
    """All that is registered, in the order of registration."""
    return [one for provider in _providers for one in provider()]


def chosen(key: str) -> ExternalId | None:
    """None for what is not there any more, such as a deleted attribute."""
    return next((one for one in choices() if one.key == key), None)


# --- What higher apps do, and have against it, when a person of the directory gets another userid. They register in ---

# corp, old userid, new userid, both as WeCom spells them
RenameFollower = Callable[[Corp, str, str], None]

RenameGuard = Callable[[Corp, str, str], bool]

_followers: list[RenameFollower] = []
_guards: list[RenameGuard] = []


def register_rename_guard(guard: RenameGuard) -> None:
    """`guard` says False where an event alone must not move what hangs on these userids."""
    if guard not in _guards:
        _guards.append(guard)


def may_be_renamed(*, corp: Corp, old: str, new: str) -> bool:
    """Whether nobody has anything against it."""
    return all(guard(corp, old, new) for guard in _guards)


def register_rename_follower(follower: RenameFollower) -> None:
    """`follower` is called in the transaction that renames the member, and may be called for one it knows already."""
    if follower not in _followers:
        _followers.append(follower)


def tell_renamed(*, corp: Corp, old: str, new: str) -> None:
    """Inside the transaction that renames the member."""
    for follower in _followers:
        follower(corp, old, new)
