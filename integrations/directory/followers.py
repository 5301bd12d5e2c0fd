"""What higher apps do when a person of the directory gets another userid. They register in AppConfig.ready()."""

from __future__ import annotations

from collections.abc import Callable

from integrations.models import Corp

# corp, old userid, new userid, both as WeCom spells them
RenameFollower = Callable[[Corp, str, str], None]

_followers: list[RenameFollower] = []


def register_rename_follower(follower: RenameFollower) -> None:
    """`follower` is called in the transaction that renames the member, and may be called for one it knows already."""
    if follower not in _followers:
        _followers.append(follower)


def tell_renamed(*, corp: Corp, old: str, new: str) -> None:
    """Inside the transaction that renames the member."""
    for follower in _followers:
        follower(corp, old, new)
