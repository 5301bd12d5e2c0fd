"""Writes audit entries (who changed what, from where, and the former values), and sends them to a syslog server.

Entries are marked as unsent when they are written, and sent in the background. So an unreachable syslog server neither
loses an entry nor delays a request.
"""

from __future__ import annotations

import json
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from redis.exceptions import LockError

from accounts.models import AuditEntry, User, WeComAccount
from integrations.core.background import queue_by_name_on_commit
from integrations.core.hooks import LastSave
from integrations.core.redis import valkey
from integrations.models import datasources

if TYPE_CHECKING:
    from django.db.models import Model


SUBJECT_CHARACTERS = 255
NOTE_CHARACTERS = 500
PURGED_AT_ONCE = 5000
# Number of a row's newest entries that find_last_save reads.
ENTRIES_SEARCHED = 20
# Notes of sign-in entries: how the person signed in.
PASSWORD, WECOM, WECOM_AND_CODE = "password", "wecom", "wecom-and-code"
# Shown in place of every secret.
MASK = "••••••"

Change = list[Any]


class Actor(NamedTuple):
    """The person who makes a change, and their IP address. Both are None for commands and background tasks."""

    person: User | None
    ip: str | None


_find_actor: ContextVar[Callable[[], Actor] | None] = ContextVar("accounts_audit_find_actor", default=None)


@contextmanager
def set_actor_finder(find_actor: Callable[[], Actor]) -> Iterator[None]:
    """Record entries inside the block with the actor that `find_actor` returns at recording time."""
    token = _find_actor.set(find_actor)
    try:
        yield
    finally:
        _find_actor.reset(token)


def set_actor(user: User, ip: str | None) -> AbstractContextManager[None]:
    """Record entries inside the block with `user` as actor, at the address `ip`."""
    return set_actor_finder(lambda: Actor(user, ip))


def make_entry(
    *,
    action: AuditEntry.Action,
    subject: Model | None = None,
    name: str = "",
    changes: Sequence[Change] = (),
    note: str = "",
    corps: Iterable[int | None] = (),
) -> AuditEntry:
    """Make an entry without saving it, so that many can be saved at once. `name`: replaces str(subject). `corps`: the
    companies concerned; None among them means no company."""
    find_actor = _find_actor.get()
    actor, ip = find_actor() if find_actor is not None else Actor(None, None)
    corp_ids = set(corps)
    return AuditEntry(
        action=action,
        actor_id=actor.pk if actor else None,
        actor_name=str(actor)[:SUBJECT_CHARACTERS] if actor else "",
        ip=ip,
        model=subject._meta.label_lower if subject is not None else "",
        object_id=subject.pk if subject is not None else None,
        subject=(name or (str(subject) if subject is not None else ""))[:SUBJECT_CHARACTERS],
        changes=list(changes),
        note=note[:NOTE_CHARACTERS],
        corp_id=corp_ids.pop() if len(corp_ids) == 1 else None,
        is_unsent=settings.AUDIT_SYSLOG is not None,
    )


@transaction.atomic(savepoint=False)
def record(**values: Any) -> None:
    """Make and save an entry. `values`: as for make_entry. An error also undoes the change in the same transaction."""
    entry = make_entry(**values)
    entry.save(force_insert=True)
    queue_for_syslog([entry])


@transaction.atomic(savepoint=False)
def record_many(entries: Iterable[AuditEntry]) -> None:
    """Save the entries of a service that changes many rows without calling save() of their model."""
    queue_for_syslog(AuditEntry.objects.bulk_create(entries, batch_size=500))


def record_sign_in(*, user: User, note: str) -> None:
    """Record the sign-in of a person who may enter the administration."""
    record(action=AuditEntry.Action.SIGNED_IN, subject=user, note=note, corps=_find_entry_corps(user.username, user))


def record_failure(*, username: str, action: AuditEntry.Action) -> None:
    """Record a wrong password, a lock or the end of a lock. An unknown username takes the same queries, so that timing
    reveals nothing, and is not stored: often it is a password typed into the wrong field."""
    user = User.objects.filter(username=username).first()
    record(action=action, subject=user, corps=_find_entry_corps(username, user))


def find_last_save(rows: Sequence[Model], since: datetime) -> LastSave | None:
    """Find the last save of `rows`, or of related rows on their pages, since that time. A save by a person is preferred
    to a later one by a background task."""
    saves = []
    for row in rows:
        entries = AuditEntry.objects.filter(model=row._meta.label_lower, object_id=row.pk, at__gte=since)
        for entry in entries.filter(action=AuditEntry.Action.CHANGED).order_by("-pk")[:ENTRIES_SEARCHED]:
            saves.append(LastSave(entry.actor_name, entry.at))
        content_type = ContentType.objects.get_for_model(row)
        page_saves = LogEntry.objects.filter(content_type=content_type, object_id=str(row.pk), action_time__gte=since)
        for page_save in page_saves.select_related("user").order_by("-pk")[:1]:
            saves.append(LastSave(str(page_save.user), page_save.action_time))
    return max(saves, key=lambda save: (bool(save.by), save.at), default=None)


def purge_entries(*, now: datetime) -> int:
    """Delete entries older than settings.AUDIT_RETENTION_DAYS, PURGED_AT_ONCE in a transaction. Return how many."""
    removed = 0
    since = now - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    old = AuditEntry.objects.filter(at__lt=since).order_by("pk")
    # A database trigger refuses to delete entries unless this setting is on (accounts/migrations/0001_initial.py).
    set_switch = "SELECT set_config('guanwecom.removes_old_audit', %s, true)"
    while keys := list(old.values_list("pk", flat=True)[:PURGED_AT_ONCE]):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(set_switch, ["on"])
            removed += AuditEntry.objects.filter(pk__in=keys).delete()[0]
            cursor.execute(set_switch, ["off"])
    return removed


def _find_entry_corps(username: str, user: User | None) -> set[int]:
    """Return the companies of a person's accounts and those that the person manages; none for people who see all. An
    unknown username (`user` is None) takes the same queries."""
    corps = find_corps_of(username=username)
    return set() if user is not None and (user.is_superuser or user.manages_all_corps) else set(corps)


def find_corps_of(**person: Any) -> list[int]:
    """Find the companies of a person's accounts and those that the person manages. `person`: conditions on User."""
    of_user = {f"user__{name}": value for name, value in person.items()}
    accounts = WeComAccount.objects.filter(corp__isnull=False, **of_user).order_by().values_list("corp_id", flat=True)
    managed = User.managed_corps.through.objects.filter(**of_user).values_list("corp_id", flat=True)
    return list(accounts.union(managed))


def name_account(account: WeComAccount) -> str:
    """Name an account by username and userid; the company has a column of its own."""
    return f"{account.user.username} / {account.userid or '—'}"


def record_accounts(
    changes: Mapping[int, Sequence[Change]],
    action: AuditEntry.Action,
    *,
    former_corps: Mapping[int, int | None] | None = None,
) -> None:
    """Record changes just written to accounts. `changes` and `former_corps` (the companies before the change) are
    mapped by the accounts' keys. Two queries, and one for each 500 entries."""
    if not changes:
        return
    accounts = list(WeComAccount.objects.filter(pk__in=list(changes)).select_related("user").order_by("pk"))
    corps = _map_people_to_corps(account.user_id for account in accounts)
    record_many(
        make_entry(
            action=action,
            subject=account,
            name=name_account(account),
            changes=changes[account.pk],
            corps={*corps[account.user_id], account.corp_id, (former_corps or {}).get(account.pk)} - {None},
        )
        for account in accounts
    )


def record_people(changes: Mapping[int, Sequence[Change]], action: AuditEntry.Action) -> None:
    """Record changes just written to people. `changes`: by the people's keys. Two queries, and one for each 500
    entries."""
    if not changes:
        return
    corps = _map_people_to_corps(changes)
    people = User.objects.filter(pk__in=list(changes)).order_by("pk")
    record_many(
        make_entry(action=action, subject=person, changes=changes[person.pk], corps=corps[person.pk])
        for person in people
    )


def _map_people_to_corps(user_ids: Iterable[int]) -> dict[int, set[int]]:
    corps: dict[int, set[int]] = defaultdict(set)
    rows = WeComAccount.objects.filter(user_id__in=list(user_ids), corp__isnull=False)
    for user_id, corp_id in rows.values_list("user_id", "corp_id"):
        corps[user_id].add(corp_id)
    return corps


# --- Sending entries to a syslog server -------------------------------------------------------------------------------

SEND_TASK = "accounts.send_audit"
TIMEOUT_SECONDS = 5
SENT_AT_ONCE = 200
# Only one process sends at a time, under a lock that expires after this time.
LOCK_SECONDS = 120
TASK_EXPIRES_SECONDS = 60
# Facility 13 (log audit), severity 6 (informational), version 1: RFC 5424.
_HEAD = "<110>1"
# Receivers need not accept longer messages (RFC 5424, 6.1). A longer entry is sent without its values.
BYTES_AT_MOST = 8192


@dataclass(frozen=True)
class UnsentEntries:
    """Number of unsent entries, and the time of the oldest."""

    count: int = 0
    since: datetime | None = None


def queue_for_syslog(entries: Sequence[AuditEntry]) -> None:
    """Queue the sending of `entries`, just saved, after the commit. Does nothing if no server is set."""
    if settings.AUDIT_SYSLOG is not None and entries:
        queue_by_name_on_commit(SEND_TASK, [entries[0].pk], expires_seconds=TASK_EXPIRES_SECONDS)


def count_unsent_entries() -> UnsentEntries:
    """Count the unsent entries in one query; in none if no server is set."""
    if settings.AUDIT_SYSLOG is None:
        return UnsentEntries()
    return UnsentEntries(**AuditEntry.objects.filter(is_unsent=True).aggregate(count=Count("pk"), since=Min("at")))


def send_unsent_entries() -> int:
    """Send all unsent entries, oldest first, and return how many were sent. Raises OSError if the server is
    unreachable.

    If the process stops between sending entries and marking them as sent, up to SENT_AT_ONCE entries are sent twice,
    with equal ids.
    """
    if settings.AUDIT_SYSLOG is None:
        return 0
    sent, unsent = 0, AuditEntry.objects.filter(is_unsent=True)
    try:
        with valkey().lock("accounts:audit-syslog", timeout=LOCK_SECONDS, blocking=False):
            while entries := list(unsent.order_by("pk")[:SENT_AT_ONCE]):
                _send_entries(settings.AUDIT_SYSLOG, entries)
                sent += unsent.filter(pk__in=[entry.pk for entry in entries]).update(is_unsent=False)
    except LockError:  # another process is sending, or has taken the lock over
        return sent
    return sent


def _send_entries(server: tuple[str, tuple[str, int]], entries: Iterable[AuditEntry]) -> None:
    """Send over one connection, which keeps the order."""
    protocol, address = server
    with _connect(protocol, address) as connection:
        for entry in entries:
            # A message is one line of RFC 5424 with ASCII JSON, so no value can end the line and begin another.
            values = {
                "id": entry.pk,
                "actor": entry.actor_name,
                "actor_id": entry.actor_id,
                "ip": entry.ip,
                "action": entry.action,
                "kind": entry.model,
                "object_id": entry.object_id,
                "subject": entry.subject,
                "note": entry.note,
                "company_id": entry.corp_id,
            }
            at = entry.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            head = f"{_HEAD} {at} {socket.gethostname()[:255]} guanwecom {os.getpid()} {entry.action} - "
            whole = head + json.dumps({**values, "changes": entry.changes})
            short = head + json.dumps({**values, "changes": None, "is_shortened": True})
            text = (whole if len(whole) <= BYTES_AT_MOST else short).encode()
            connection.sendall(f"{len(text)} ".encode() + text if protocol == "tcp" else text)


@contextmanager
def _connect(protocol: str, address: tuple[str, int]) -> Iterator[socket.socket]:
    if protocol == "tcp":
        with socket.create_connection(address, timeout=TIMEOUT_SECONDS) as connection:
            yield connection
        return
    family, _type, _protocol, _name, resolved = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.connect(resolved)
        yield connection


class AuditMiddleware:
    """Sets the request's user and address as actor of audit entries, and lets only superusers see answers from the
    internal network. It must follow AuthenticationMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        def find_actor() -> Actor:
            # Read at recording time, since a sign-in changes the request's user.
            user = getattr(request, "user", None)
            return Actor(user if isinstance(user, User) else None, request.META.get("REMOTE_ADDR") or None)

        with set_actor_finder(find_actor), datasources.set_network_access(lambda: request.user.is_superuser):
            return self.get_response(request)
