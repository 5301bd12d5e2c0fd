"""What higher apps show on a person's page of the administration, and what of theirs the person owns. They register in
AppConfig.ready()."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from integrations.hooks import Hook

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    from accounts.models import User

# Asked when a person's page is shown: a section as HTML, empty where who asks may not see any of it.
person_panels: Hook[[HttpRequest, User], SafeString] = Hook()

# Asked what the first person owns, as far as the second may hand it over: of each a key, a name, its address, and the
# name of the successor chosen in advance, empty where nobody is or the one chosen may not own it.
owned_by: Hook[[User, User], list[tuple[str, str, str, str]]] = Hook()
# Asked in whole sentences why the owner's things with these keys must not go to the successor by the editor's hand.
objections_to: Hook[[User, Collection[str], User, User], list[str]] = Hook()
# Told the same, once nothing is against it, in the transaction that saves the owner. Answers how much was handed over.
handing_over: Hook[[User, Collection[str], User, User], int] = Hook()
# Told who was disabled, or may not enter the administration any more, in the transaction that does it. Answers in whole
# sentences who took what over.
people_disabled: Hook[[Collection[int]], list[str]] = Hook()
