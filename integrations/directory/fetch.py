"""Reader of a company's directory in WeCom, with as few calls as its secrets allow. It writes nothing.

With the app's secret: department/list once (or once per root), user/list once per department, agent/get once. If the
app's scope names people or tags: tag/get once per tag, and user/get for a person who is in none of the departments.
With the contacts secret also: department/simplelist once, user/list_id once per 10,000 rows (a row is a person in a
department), and department/list only once, however many roots there are.

In addition there is one user/get call for each person missing from the lists, to learn the reason.
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from integrations.clients.errors import RateLimitedError, RecipientError, TransientError, UnexpectedResponseError
from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom.client import Agent
from integrations.clients.wecom.contacts import Department, User
from integrations.core import client_factory
from integrations.directory import departments as directory_departments
from integrations.directory.departments import MissingRootError
from integrations.models import Corp, SyncRun, fold_userid

ACTIVE, DISABLED, NOT_ACTIVATED = "active", "disabled", "not_activated"
# WeCom's numbers of a member's status. 5 (has left) is not among them: such a member counts as missing.
STATUS = {1: ACTIVE, 2: DISABLED, 4: NOT_ACTIVATED}
LEFT_COMPANY = 5
_USERID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_\-@.]{0,63}")
# Joins characters into one emoji. All other invisible characters are removed.
_JOINER = "\u200d"
_MAX_LENGTHS = {"name": 128, "alias": 128, "position": 128, "mobile": 32, "email": 254, "biz_mail": 254}
NUMBER_CHARACTERS = 64
PLAIN_FIELDS = (*_MAX_LENGTHS, "number")
DEPARTMENT_IDS = range(1, 2**32)
_EXAMPLES_AT_MOST = 5


@dataclass(slots=True)
class SeenMember:
    """A member as read from WeCom. `departments`: the numbers of their departments."""

    userid: str
    departments: set[int]
    name: str | None = None
    alias: str | None = None
    position: str | None = None
    mobile: str | None = None
    email: str | None = None
    biz_mail: str | None = None
    number: str | None = None
    status: str | None = None
    # False if only the list by the contacts secret has the person.
    is_seen_by_app: bool = False
    folded: str = field(init=False)

    def __post_init__(self) -> None:
        self.folded = fold_userid(self.userid)


@dataclass(frozen=True, slots=True)
class SeenDepartment:
    """A department as read from WeCom. `name` None: not given."""

    number: int
    parent: int | None
    name: str | None = None
    order: int = 0


@dataclass
class Snapshot:
    """The result of one reading.

    `people`: by folded userid. `company_userids`: the folded userids of the whole company; None without the contacts
    secret. `left_userids`: those listed as having left the company. `warnings`: their examples, by kind.
    """

    departments: dict[int, SeenDepartment] = field(default_factory=dict)
    people: dict[str, SeenMember] = field(default_factory=dict)
    company_userids: set[str] | None = None
    left_userids: set[str] = field(default_factory=set)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def add(self, person: SeenMember) -> None:
        """Merge a person's entry of one list. Two spellings of a userid are one person."""
        known = self.people.get(person.folded)
        if known is None:
            self.people[person.folded] = person
            return
        if known.userid != person.userid:
            self.warn("spelling", person.userid)
        known.departments |= person.departments
        for name in _MERGED:
            if getattr(known, name) is None:
                setattr(known, name, getattr(person, name))
        known.is_seen_by_app = known.is_seen_by_app or person.is_seen_by_app

    def warn(self, code: str, example: object = "") -> None:
        """Add a warning of the kind `code`. Only the first few examples of a kind are kept."""
        examples = self.warnings.setdefault(code, [])
        examples.append(clean_text(str(example), 64) if len(examples) < _EXAMPLES_AT_MOST else "")

    def count_warnings(self) -> list[dict[str, Any]]:
        """Return the number of warnings of each kind, with the first few examples."""
        return [
            {"code": code, "count": len(examples), "examples": list(filter(None, examples[:_EXAMPLES_AT_MOST]))}
            for code, examples in sorted(self.warnings.items())
        ]


_MERGED = tuple(each.name for each in fields(SeenMember) if each.name in {*PLAIN_FIELDS, "status"})


def clean_text(text: str, longest: int) -> str:
    """Return `text` for storage and display: no control or invisible characters, no lone surrogates, not too long."""
    if text.isprintable():
        return text.strip()[:longest]
    kept = (char for char in text if char == _JOINER or unicodedata.category(char) not in {"Cc", "Cf", "Cs"})
    return "".join(kept).strip()[:longest]


def is_userid(text: str) -> bool:
    """Return whether the text can be a userid of WeCom."""
    return _USERID.fullmatch(text) is not None


T = TypeVar("T")

# WeCom allows a company 10,000 calls of one API a minute. These limits, a burst and then a rate, make at most 8,800 in
# the first minute and 4,800 in each later one, which leaves some to other programs.
CALLS_AT_ONCE = 4000
CALLS_PER_SECOND = 80
# Far below the 300 parallel calls that WeCom allows a company, so that messages can use the rest.
PARALLEL_CALLS = 8
# Seconds before the second and the third try of a call. Otherwise one failed call of thousands would repeat the whole
# run, which happens only after minutes (sync.py).
PAUSES_SECONDS = (0.5, 2.0)


class CallPacer:
    """Pacer of calls to WeCom: it limits their rate and repeats failed ones. `pause`: sleeps for some seconds. `count`:
    the calls made, including repeats."""

    def __init__(
        self,
        *,
        pause: Callable[[float], object] = time.sleep,
        parallel: int = PARALLEL_CALLS,
        at_once: int = CALLS_AT_ONCE,
        per_second: float = CALLS_PER_SECOND,
    ) -> None:
        self.count = 0
        self._pause, self._parallel = pause, parallel
        self._interval, self._credit_seconds = 1 / per_second, at_once / per_second
        self._lock = threading.Lock()
        # When the last call would have been made if all calls had been made at the interval.
        self._due_at = 0.0

    def call(self, call: Callable[[], T]) -> T:
        """Make one call, after transient failures up to three times. Raises the client's errors."""
        for seconds in PAUSES_SECONDS:
            try:
                return self._pace(call)
            except TransientError as error:
                if isinstance(error, RateLimitedError) and error.retry_after_seconds > 5:
                    raise  # a block of a minute is too long to sleep
                self._pause(seconds)
        return self._pace(call)

    def call_all(self, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Yield the results in the order of the calls, some of which run in parallel. Stops at the first error."""
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="directory") as pool:
            waiting = iter(calls)
            while batch := list(islice(waiting, 2 * self._parallel)):
                yield from pool.map(self.call, batch)

    def _pace(self, call: Callable[[], T]) -> T:
        with self._lock:
            self.count += 1
            now = read_boot_clock()
            self._due_at = max(now, self._due_at) + self._interval
            wait = self._due_at - now - self._credit_seconds
        if wait > 0:
            self._pause(wait)
        return call()


Phase = SyncRun.Phase
# Arguments: phase, finished steps, all steps (0: unknown).
Progress = Callable[[SyncRun.Phase, int, int], None]

_NO_SUCH_DEPARTMENT = (60003, 60123, 60011)
# user/get's codes for somebody who exists but is not shown to the app, and for somebody who does not exist.
_OUTSIDE, _GONE = (60011, 60021, 50002, 92000), (60111, 40003)


@dataclass(frozen=True, slots=True)
class UserLookup:
    """The result of user/get. `person`: None unless in scope. `exists`: False for somebody who is not in the company.
    `has_left`: WeCom still has the account of somebody who left the company.
    """

    person: SeenMember | None
    exists: bool
    has_left: bool = False


class Reader:
    """Reader of one company's directory, with the secrets that it has. `number_field`: the name of the company's own
    field (extattr) that holds the employee number; empty: the number is not read.

    Raises the errors of `integrations.clients.errors`, and MissingRootError.
    """

    def __init__(self, *, corp: Corp, pacer: CallPacer, progress: Progress, number_field: str = "") -> None:
        self._app = client_factory.wecom_client(corp)
        self._contacts = client_factory.contacts_client(corp) if corp.contacts_secret else None
        self._roots: Sequence[int] = corp.department_root_ids
        self._pacer, self._progress, self._number_field = pacer, progress, number_field
        self.snapshot = Snapshot()
        self._seen_by_app: set[int] = set()
        # Numbers of departments that people who were looked up belong to, but that the snapshot lacks.
        self.unknown_departments: set[int] = set()
        # Results of _find_user, by folded userid.
        self._answers: dict[str, User | bool] = {}

    def read(self) -> Snapshot:
        """Read the whole directory. Raises the errors of `integrations.clients.errors`, and MissingRootError."""
        self._progress(Phase.DEPARTMENTS, 0, 0)
        self.read_departments()
        self.read_company()
        self.read_lists(self._seen_by_app)
        if not self._roots:
            self._read_singles()
        return self.snapshot

    def look_up(self, userids: Sequence[str]) -> list[UserLookup]:
        """Look up people who are in no list, in order. This also finds people who moved during the reading."""
        self._fetch_people(userids)
        return [self._convert_answer(self._answers[fold_userid(userid)]) for userid in userids]

    # --- Partial reading, for some people only, by incremental.py, which may set `snapshot.departments` itself -------

    def read_lists(self, numbers: Iterable[int]) -> None:
        """Read the people of these departments whom the app sees."""
        wanted = sorted(self._seen_by_app & set(numbers))
        lists = self._pacer.call_all(partial(self._app.user_list, number) for number in wanted)
        for done, (number, users) in enumerate(zip(wanted, lists, strict=True)):
            self._progress(Phase.MEMBERS, done, len(wanted))
            for user in users:
                self._add_user(user, number)

    def find_existing(self, userids: Collection[str]) -> set[str]:
        """Return which of these userids, folded, exist in the company, also those that the app does not see."""
        self._fetch_people(userids)
        return {folded for folded in map(fold_userid, userids) if self._convert_answer(self._answers[folded]).exists}

    def forget_answers(self, userids: Iterable[str]) -> None:
        """Drop the results for these userids, so that the next look-up asks WeCom again."""
        for folded in map(fold_userid, userids):
            self._answers.pop(folded, None)

    def read_agent(self) -> Agent:
        """Return the app's settings, with its visible scope."""
        return self._pacer.call(self._app.agent_get)

    # --- Departments ----------------------------------------------------------------------------------------------

    def read_departments(self) -> Snapshot:
        """Read the departments only."""
        known: dict[int, SeenDepartment] = {}
        self.unknown_departments.clear()
        if self._contacts is not None:
            self._merge(known, self._pacer.call(self._contacts.department_simplelist))
        self._seen_by_app = self._merge(known, self._read_departments_of_app())
        parents = {number: department.parent for number, department in known.items()}
        tops = directory_departments.find_top_departments(parents)
        # The departments that cannot be reached from a top are those of cycles, and all below them.
        for number in sorted(parents.keys() - directory_departments.find_subtree(parents, tops)):
            self.snapshot.warn("cycle", number)
        if self._contacts is not None:  # without it, the app may see only a part, without the parents
            for number in tops:
                if parents[number] is not None:
                    self.snapshot.warn("orphan", number)
        for root in self._roots:
            if root not in parents:
                raise MissingRootError(str(root))
        chosen = directory_departments.find_subtree(parents, self._roots) if self._roots else set(parents)
        self._seen_by_app &= chosen
        self.snapshot.departments = {number: known[number] for number in known if number in chosen}
        return self.snapshot

    def _read_departments_of_app(self) -> list[Department]:
        if not self._roots or self._contacts is not None:
            return list(self._pacer.call(self._app.department_list))
        found: list[Department] = []
        for root in self._roots:
            try:
                found += self._pacer.call(partial(self._app.department_list, root))
            except RecipientError as error:
                if error.code in _NO_SUCH_DEPARTMENT:
                    raise MissingRootError(str(root)) from error
                raise
        return found

    def _merge(self, known: dict[int, SeenDepartment], departments: Iterable[Department]) -> set[int]:
        """Add an answer's departments to `known`, in place of earlier answers. Return their numbers."""
        numbers = set()
        for one in departments:
            if one.department_id not in DEPARTMENT_IDS:
                message = "a department has a number that none can have"
                raise UnexpectedResponseError(message, system="wecom", operation="department_list")
            numbers.add(one.department_id)
            name = clean_text(one.name, 128) or None
            # None is excluded first, because a range is searched number by number for anything that is not a number.
            parent = one.parent_id if one.parent_id is not None and one.parent_id in DEPARTMENT_IDS else None
            known[one.department_id] = SeenDepartment(one.department_id, parent, name, min(max(one.order, 0), 2**32))
        return numbers

    # --- People ---------------------------------------------------------------------------------------------------

    def read_company(self, wanted: Collection[str] | None = None) -> None:
        """Read the company's userids, if there is a contacts secret, and the departments of those `wanted` (folded)."""
        if self._contacts is None:
            return
        snapshot, known = self.snapshot, self.snapshot.departments
        company = snapshot.company_userids = set[str]()
        self._progress(Phase.MEMBERS, 0, 0)
        for page in self._contacts.user_list_id_pages(make_call=self._pacer.call):
            for userid, department_id in page.rows:
                if not self._is_userid(userid):
                    continue
                folded = fold_userid(userid)
                company.add(folded)
                is_wanted = wanted is None or folded in wanted
                if is_wanted and department_id in known:
                    snapshot.add(SeenMember(userid, {department_id}))
            self._progress(Phase.MEMBERS, len(company), 0)

    def _read_singles(self) -> None:
        """Read people whom the app's scope names one by one or by a tag, and who are in none of its departments."""
        agent = self.read_agent()
        userids = list(agent.allowed_userids)
        for tag_id in agent.allowed_tag_ids:
            try:
                tag = self._pacer.call(partial(self._app.tag_get, tag_id))
            except RecipientError:
                self.snapshot.warn("tag", tag_id)
            else:
                userids += [userid for userid, _name in tag.members]
        named = {fold_userid(userid): userid for userid in userids}
        people, left = self.snapshot.people, self.snapshot.left_userids
        missing = [
            userid
            for folded, userid in named.items()
            if folded not in left and not (folded in people and people[folded].is_seen_by_app)
        ]
        answers = self._pacer.call_all(partial(self._find_user, userid) for userid in missing)
        for userid, found in zip(missing, answers, strict=True):
            if isinstance(found, User):
                self._add_user(found, None)
            else:
                self.snapshot.warn("named_but_gone", userid)

    def _add_user(self, user: User, listed_in: int | None) -> None:
        if not self._is_userid(user.userid):
            return
        if user.status == LEFT_COMPANY:
            self.snapshot.left_userids.add(fold_userid(user.userid))
            return
        self.snapshot.add(self._convert_user(user, listed_in))

    def _convert_user(self, user: User, listed_in: int | None) -> SeenMember:
        """Convert a user, whose userid is checked. `listed_in`: the department whose list had the user, if any."""
        departments = {number for number in user.department_ids if number in self.snapshot.departments}
        if listed_in is not None:
            departments.add(listed_in)
        values = {
            name: None if name in user.withheld else clean_text(getattr(user, name), longest)
            for name, longest in _MAX_LENGTHS.items()
        }
        values["name"] = values["name"] or None  # everybody has a name: an empty one was withheld
        # A field that is missing from the answer may be hidden from the app: unknown, not empty.
        number = dict(user.own_fields).get(self._number_field) if self._number_field else None
        values["number"] = None if number is None else clean_text(number, NUMBER_CHARACTERS)
        status = None if user.status is None else STATUS.get(user.status)
        if user.is_enabled is False:
            status = DISABLED
        return SeenMember(userid=user.userid, departments=departments, status=status, is_seen_by_app=True, **values)

    def _is_userid(self, userid: str) -> bool:
        if is_userid(userid):
            return True
        self.snapshot.warn("userid", userid)
        return False

    def _fetch_people(self, userids: Collection[str]) -> None:
        """Fetch each person once, whatever the spelling."""
        named = {fold_userid(userid): userid for userid in userids}
        new = {folded: userid for folded, userid in named.items() if folded not in self._answers}
        answers = self._pacer.call_all(partial(self._find_user, userid) for userid in new.values())
        for done, (folded, answer) in enumerate(zip(new, answers, strict=True)):
            self._progress(Phase.COMPARING, done, len(new))
            self._answers[folded] = answer

    def _find_user(self, userid: str) -> User | bool:
        """Return the person; True if the app does not see the person, False if there is no such person."""
        try:
            return self._app.user_get(userid)
        except RecipientError as error:
            if error.code in _OUTSIDE:
                return True
            if error.code in _GONE:
                return False
            raise

    def _convert_answer(self, found: User | bool) -> UserLookup:
        if isinstance(found, bool):
            return UserLookup(None, found)
        if found.status == LEFT_COMPANY or not is_userid(found.userid):  # an invalid userid is never copied
            return UserLookup(None, exists=False, has_left=True)
        known = self.snapshot.departments
        self.unknown_departments.update(number for number in found.department_ids if number not in known)
        person = self._convert_user(found, None)
        is_inside = bool(person.departments) or not self._roots
        return UserLookup(person if is_inside else None, exists=True)
