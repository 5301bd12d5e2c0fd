"""Finding the person who is meant among up to 100,000."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from wecom_sandbox.state.directory import Member
from wecom_sandbox.state.world import Company

SHOWN = 30


def namer(company: Company) -> Callable[[str], str]:
    """What stands behind an @: the member's name; @all, a mobile number or an unknown userid as they are."""

    def name_of(userid: str) -> str:
        member = company.directory.find(userid)
        return member.name if member else userid

    return name_of


def initials(member: Member) -> str:
    """What stands in a picture's place: the last two characters of a Chinese name, the first letter of another."""
    return member.name[:1].upper() if member.name.isascii() else member.name[-2:]


def search(company: Company, text: str, *, most: int = SHOWN, start: int = 0) -> list[Member]:
    """Members whose userid or name holds the text, all when it is empty: so many, from the place `start` on."""
    wanted = text.strip().lower()
    found = (
        member
        for folded, member in company.directory.members.items()
        if not wanted or wanted in folded or wanted in member.name.lower()
    )
    return list(islice(found, start, start + most))
