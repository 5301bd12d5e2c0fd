"""A company's tags, changed by calls of the API; the console and seeds go through `administration`."""

from __future__ import annotations

from dataclasses import replace

from wecom_sandbox.state.announcements import Announcer
from wecom_sandbox.state.directory import Tag
from wecom_sandbox.state.world import Company, World


def put(world: World, company: Company, tag: Tag, *, tell_contacts: bool) -> None:
    """Add a tag or replace the one with this id; who enters or leaves a scope by that is told to its app."""
    announcer = Announcer(world, company, tell_contacts=tell_contacts)
    with announcer.scopes():
        old = company.directory.tags.get(tag.tagid)
        company.directory.put_tag(tag)
        announcer.tag(old, tag)


def remove(world: World, company: Company, tagid: int) -> None:
    """The tag is gone from all scopes, too. No event tells that. Raises KeyError."""
    with Announcer(world, company).scopes():
        company.directory.remove_tag(tagid)
        for app in company.apps.values():
            app.scope.tagids = [one for one in app.scope.tagids if one != tagid]
        company.forget_visibility()


def with_people(tag: Tag, userids: list[str], partyids: list[int]) -> Tag:
    """The tag with exactly these, each once."""
    return replace(tag, userids=list(dict.fromkeys(userids)), partyids=list(dict.fromkeys(partyids)))
