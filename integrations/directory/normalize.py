"""Cleans directory data from WeCom. Pure.

None means unknown: WeCom withholds mobile and e-mail from apps created after 2022-06-20, and everything but accounts
and departments where only the contacts secret was used. Unknown never overwrites what is known.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from integrations.clients.wecom.api.contacts import User
from integrations.models import fold_userid

ACTIVE, DISABLED, NOT_ACTIVATED = "active", "disabled", "not_activated"
# WeCom's numbers of a member's state. 5 (has left) is no state: such a member is not there.
STATUS = {1: ACTIVE, 2: DISABLED, 4: NOT_ACTIVATED}
LEFT_COMPANY = 5
_USERID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_\-@.]{0,63}")
# The joiner holds emoji together; every other invisible character only hides something.
_JOINER = "\u200d"
_LONGEST = {"name": 128, "alias": 128, "position": 128, "mobile": 32, "email": 254, "biz_mail": 254}
NUMBER_CHARACTERS = 64
PLAIN_FIELDS = (*_LONGEST, "number")
# Of these the record of a run says only that they changed.
PRIVATE_FIELDS = frozenset({"mobile", "email", "biz_mail"})
DEPARTMENT_IDS = range(1, 2**32)
_EXAMPLES = 5


@dataclass(slots=True)
class Person:
    """One member as this run saw them. `departments`: number to whether they lead there (None: unknown)."""

    userid: str
    departments: dict[int, bool | None]
    name: str | None = None
    alias: str | None = None
    position: str | None = None
    mobile: str | None = None
    email: str | None = None
    biz_mail: str | None = None
    number: str | None = None
    status: str | None = None
    # Whether the app showed them; without, the contacts secret alone knows that they exist.
    is_seen_by_app: bool = False
    folded: str = field(init=False)

    def __post_init__(self) -> None:
        self.folded = fold_userid(self.userid)


@dataclass(frozen=True, slots=True)
class SeenDepartment:
    """One department; name None: not told."""

    number: int
    parent: int | None
    name: str | None = None
    order: int = 0


@dataclass
class Warnings:
    """What was odd, counted by kind, with the first few examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, code: str, example: object = "") -> None:
        self.counts[code] += 1
        if example != "" and len(self.examples[code]) < _EXAMPLES:
            self.examples[code].append(clean(str(example), 64))

    def as_json(self) -> list[dict[str, Any]]:
        return [{"code": code, "count": n, "examples": self.examples[code]} for code, n in sorted(self.counts.items())]


@dataclass
class Snapshot:
    """Everything that one run read.

    `people` by folded userid. `company`: the folded userids of the whole company, where the contacts secret told them,
    else None. `left`: folded userids that were listed as having left the company.
    """

    departments: dict[int, SeenDepartment] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    company: set[str] | None = None
    left: set[str] = field(default_factory=set)
    warnings: Warnings = field(default_factory=Warnings)

    def add(self, person: Person) -> None:
        """Add what one list says of a person; lists are put together. Two spellings of a userid are one person."""
        known = self.people.get(person.folded)
        if known is None:
            self.people[person.folded] = person
            return
        if known.userid != person.userid:
            self.warnings.add("spelling", person.userid)
        for number, leads in person.departments.items():
            if known.departments.get(number) is None:
                known.departments[number] = leads
        for name in _MERGED:
            if getattr(known, name) is None:
                setattr(known, name, getattr(person, name))
        known.is_seen_by_app = known.is_seen_by_app or person.is_seen_by_app


_MERGED = tuple(one.name for one in fields(Person) if one.name in {*PLAIN_FIELDS, "status"})


def clean(text: str, longest: int) -> str:
    """`text` as it can be stored and shown: no control or invisible characters, no half characters, not too long."""
    if text.isprintable():
        return text.strip()[:longest]
    kept = (one for one in text if one == _JOINER or unicodedata.category(one) not in {"Cc", "Cf", "Cs"})
    return "".join(kept).strip()[:longest]


def is_userid(text: str) -> bool:
    """Whether WeCom could have given this as a userid."""
    return _USERID.fullmatch(text) is not None


def person_of(user: User, *, known: Iterable[int], listed_in: int | None = None, number_field: str = "") -> Person:
    """`known`: the departments that count; `listed_in`: the one in whose list the user stood, if any; `number_field`:
    the company's own field with the employee number, empty: that is not read.

    The caller has checked the userid.
    """
    leads = dict(zip(user.department_ids, user.is_leader_in, strict=False))
    departments = {number: leads.get(number) for number in user.department_ids if number in known}
    if listed_in is not None:
        departments.setdefault(listed_in, None)
    values = {
        name: None if name in user.withheld else clean(getattr(user, name), longest)
        for name, longest in _LONGEST.items()
    }
    values["name"] = values["name"] or None  # nobody is nameless: an empty name was withheld
    # A field that is not in the answer at all may be hidden from the app: unknown, not empty.
    number = dict(user.own_fields).get(number_field) if number_field else None
    values["number"] = None if number is None else clean(number, NUMBER_CHARACTERS)
    return Person(userid=user.userid, departments=departments, status=_status(user), is_seen_by_app=True, **values)


def _status(user: User) -> str | None:
    if user.is_enabled is False:
        return DISABLED
    return None if user.status is None else STATUS.get(user.status)
