"""Who a person is in the BI. Asked here by key; answered by the app that knows the person.

`accounts` registers the answers in its AppConfig.ready(): integrations, the lowest app, knows no user model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    from integrations.visibility import Person


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
