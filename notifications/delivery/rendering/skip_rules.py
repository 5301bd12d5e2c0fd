"""Whether to skip a run: its data is empty, unchanged or too old. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from integrations.core.sentences import Sentence
from integrations.data.table import Table, to_document
from notifications.models import IfStale


@dataclass(frozen=True, slots=True)
class Rules:
    """`stale_after`: how old the data may be at the slot's time; None: as old as it likes."""

    if_empty: bool = False
    if_unchanged: bool = False
    stale_after: timedelta | None = None
    if_stale: str = IfStale.NOTE


def fingerprint(tables: Mapping[str, Table]) -> str:
    """Of columns and rows: equal where the data is. When it was true makes no difference."""
    digest = hashlib.sha256()
    for alias, table in sorted(tables.items()):
        document = to_document(table)
        shown = [alias, document["columns"], document["rows"], document["is_cut"]]
        digest.update(json.dumps(shown, ensure_ascii=False).encode())
    return digest.hexdigest()


def as_of(tables: Mapping[str, Table]) -> datetime | None:
    """The moment at which all of the data was true: that of the oldest table."""
    return min((table.as_of for table in tables.values()), default=None)


def is_stale(tables: Mapping[str, Table], rules: Rules, slot_at: datetime) -> bool:
    """Whether the oldest of the data was true longer before the slot than the rules allow."""
    oldest = as_of(tables)
    return oldest is not None and rules.stale_after is not None and oldest < slot_at - rules.stale_after


def reason_to_skip(
    tables: Mapping[str, Table], rules: Rules, *, slot_at: datetime, print_of_last: str, moment: str
) -> Sentence | None:
    """Why the run is not sent, in a sentence; None where it is.

    `slot_at`: the time against which the age of the data counts; `print_of_last`: the fingerprint of what was sent
    last; `moment`: that of the data, in words.
    """
    if rules.if_empty and not any(table.rows for table in tables.values()):
        return Sentence("Not sent: the data is empty.")
    if is_stale(tables, rules, slot_at) and rules.if_stale == IfStale.SKIP:
        return Sentence("Not sent: the data is of %(moment)s, too old.") % {"moment": moment}
    if rules.if_unchanged and print_of_last and fingerprint(tables) == print_of_last:
        return Sentence("Not sent: the data is the same as in the message before.")
    return None


def stale_note(moment: str) -> str:
    """What stands in a message whose data is older than asked."""
    return _("The data is stale: it is of %(moment)s.") % {"moment": moment}
