"""What higher apps do, and have against it, when a person of the directory gets another userid. They register in
AppConfig.ready().
"""

from __future__ import annotations

from collections.abc import Callable

from integrations.models import Corp

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
