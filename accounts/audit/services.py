"""Writes audit entries: who changed what, from where, and the former values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection, transaction

from accounts.audit import syslog
from accounts.models import AuditEntry, User, WeComAccount
from integrations.core.admin_pages import Saved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django.db.models import Model
    from django.http import HttpRequest

SUBJECT_CHARACTERS = 255
NOTE_CHARACTERS = 500
PURGED_AT_ONCE = 5000
# So many of a row's newest entries are looked through for who changed it.
ENTRIES_SEARCHED = 20
# How somebody signed in, as it stands in the note of an entry.
PASSWORD, WECOM, WECOM_AND_CODE = "password", "wecom", "wecom-and-code"  # noqa: S105  # names of ways, no password
# Shown in place of a secret: the same whatever the secret is.
MASK = "••••••"

Change = list[Any]
Who = tuple["User | None", "str | None"]
# Names of databases in which this process has written an entry: the table is there.
_with_trail: set[str] = set()
_at_work: ContextVar[Callable[[], Who] | None] = ContextVar("accounts_audit_at_work", default=None)


@contextmanager
def at_work(request: HttpRequest) -> Iterator[None]:
    """While the block runs, what is recorded was done by `request`'s person, from its address."""

    def who() -> Who:
        # Read when something is recorded: signing in changes it.
        user = getattr(request, "user", None)
        return (user if isinstance(user, User) else None), request.META.get("REMOTE_ADDR") or None

    with _named(who):
        yield


@contextmanager
def on_behalf(user: User, ip: str | None) -> Iterator[None]:
    """While the block runs, what is recorded was asked for by `user`, from the address `ip`."""
    with _named(lambda: (user, ip)):
        yield


@contextmanager
def _named(who: Callable[[], Who]) -> Iterator[None]:
    token = _at_work.set(who)
    try:
        yield
    finally:
        _at_work.reset(token)


def entry(
    *,
    action: AuditEntry.Action,
    subject: Model | None = None,
    name: str = "",
    changes: Sequence[Change] = (),
    note: str = "",
    corps: Iterable[int | None] = (),
) -> AuditEntry:
    """A row that is not saved yet, for many at once.

    `name`: in place of str(subject). `corps`: the companies that it is about; None among them for none in particular.
    """
    actor, ip = _who()
    concerned = set(corps)
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
        corp_id=concerned.pop() if len(concerned) == 1 else None,
    )


def record(
    *,
    action: AuditEntry.Action,
    subject: Model | None = None,
    name: str = "",
    changes: Sequence[Change] = (),
    note: str = "",
    corps: Iterable[int | None] = (),
) -> None:
    """Save the row that entry() makes. A change that cannot be recorded fails: only while migrations run, before the
    table exists, nothing is written."""
    made = entry(action=action, subject=subject, name=name, changes=changes, note=note, corps=corps)
    database = str(connection.settings_dict["NAME"])
    if _at_work.get() is not None or database in _with_trail:
        _save(made)
        return
    try:
        with transaction.atomic():  # a savepoint, so that migrations go on
            _save(made)
    except DatabaseError:
        if AuditEntry._meta.db_table in connection.introspection.table_names():
            raise  # only in the middle of migrations there is no trail yet
    else:
        _with_trail.add(database)


def _save(made: AuditEntry) -> None:
    if settings.AUDIT_SYSLOG is None:
        made.save(force_insert=True)
        return
    with transaction.atomic(savepoint=False):
        made.save(force_insert=True)
        syslog.note([made])


@transaction.atomic(savepoint=False)
def record_many(entries: Iterable[AuditEntry]) -> None:
    """For services that change many rows at once, past the models' own save()."""
    syslog.note(AuditEntry.objects.bulk_create(entries, batch_size=500))


def record_sign_in(*, user: User, note: str) -> None:
    """Of people who may enter the administration; employees' sign-ins would bury the rest."""
    if user.is_staff:
        record(action=AuditEntry.Action.SIGNED_IN, subject=user, note=note, corps=_corps_of(user.username, user))


def record_failure(*, username: str, action: AuditEntry.Action) -> None:
    """A wrong password, a lock, or its end. The same queries for unknown usernames, so that time tells nothing.

    An unknown username is not written down: often it is a password that went into the wrong field.
    """
    user = User.objects.filter(username=username).first()
    record(action=action, subject=user, corps=_corps_of(username, user))


def last_saved(rows: Sequence[Model], since: datetime) -> Saved | None:
    """Find who saved one of `rows`, or parts on their pages, last: a person rather than the program itself."""
    saved = []
    for row in rows:
        changed = AuditEntry.objects.filter(model=row._meta.label_lower, object_id=row.pk, at__gte=since)
        for one in changed.filter(action=AuditEntry.Action.CHANGED).order_by("-pk")[:ENTRIES_SEARCHED]:
            saved.append(Saved(one.actor_name, one.at))
        kind = ContentType.objects.get_for_model(row)
        pages = LogEntry.objects.filter(content_type=kind, object_id=str(row.pk), action_time__gte=since)
        for page in pages.select_related("user").order_by("-pk")[:1]:
            saved.append(Saved(str(page.user), page.action_time))
    return max(saved, key=lambda one: (bool(one.by), one.at), default=None)


def purge(*, now: datetime) -> int:
    """Remove what is older than settings.AUDIT_RETENTION_DAYS, in steps that keep transactions small."""
    removed = 0
    old = AuditEntry.objects.older_than(now - timedelta(days=settings.AUDIT_RETENTION_DAYS)).order_by("pk")
    while keys := list(old.values_list("pk", flat=True)[:PURGED_AT_ONCE]):
        removed += _remove(keys)
    return removed


@transaction.atomic
def _remove(keys: list[int]) -> int:
    _let_delete("on")
    count = AuditEntry.objects.filter(pk__in=keys).delete()[0]
    _let_delete("off")
    return count


def _let_delete(state: str) -> None:
    """The database lets nobody else delete entries (migration append_only_audit)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('guanwecom.removes_old_audit', %s, true)", [state])


def _corps_of(username: str, user: User | None) -> set[int]:
    """The companies of one person's accounts and those that they manage; who sees all is nobody's in particular.

    The same queries for unknown usernames (no `user`).
    """
    accounts = WeComAccount.objects.filter(user__username=username, corp__isnull=False)
    managed = User.managed_corps.through.objects.filter(user__username=username)
    corps = {*accounts.values_list("corp_id", flat=True), *managed.values_list("corp_id", flat=True)}
    return set() if user is not None and (user.is_superuser or user.manages_all_corps) else corps


def _who() -> Who:
    who = _at_work.get()
    return who() if who is not None else (None, None)
