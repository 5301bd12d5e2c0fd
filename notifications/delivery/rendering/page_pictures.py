"""As whom each recipient sees the page of the BI whose picture a report carries."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from accounts.users import bi_accounts
from integrations import bi
from integrations.clients.snapshots import Options, Theme, Width
from integrations.core.heartbeats import is_served
from integrations.core.sentences import Sentence
from notifications.delivery.attachments import jobs
from notifications.models import PagePicture
from notifications.sources import PageView, RenderingError

if TYPE_CHECKING:
    from accounts.models import User

FindIdentities: TypeAlias = Callable[[Collection[int]], dict[int, str]]


class RecipientPages:
    """The page as each person's account in the BI sees it, or for all of them as the owner's does."""

    def __init__(
        self,
        picture: PagePicture,
        slot_at: datetime,
        *,
        owner_id: int | None = None,
        find_identities: FindIdentities = bi_accounts.identities,
    ) -> None:
        """`owner_id`: as whom all see it. Raises RenderingError where nobody gets a picture."""
        self._picture, self._slot_at, self._find_identities = picture, slot_at, find_identities
        self._identities: dict[int, str] = {}
        self._owners = ""
        if (obstacle := _obstacle_of_connection()) is not None:
            raise RenderingError(obstacle)
        self.is_split = owner_id is None
        if owner_id is not None:
            self._owners = bi_accounts.identities([owner_id]).get(owner_id, "")
            if not self._owners:
                raise RenderingError(
                    Sentence("The picture of a page is shown as the owner sees it, who has no account in the BI.")
                )

    def learn(self, user_ids: Collection[int]) -> None:
        """Look up the accounts of all these people at once."""
        if self.is_split:
            self._identities = self._find_identities(user_ids)

    def identity_of(self, user_id: int) -> str:
        """Empty for somebody who has none."""
        return self._identities.get(user_id, "") if self.is_split else self._owners

    def view_of(self, user_id: int | None) -> PageView:
        """None: a group, which is nobody. Raises RenderingError."""
        if user_id is None and self.is_split:
            raise RenderingError(
                Sentence(
                    "Everybody in the group would see the same: a picture of a page with each recipient's own rights "
                    "cannot go to a robot."
                )
            )
        return _view(self._picture, self._owners if user_id is None else self.identity_of(user_id), self._slot_at)


def pages_of(
    picture: PagePicture | None,
    owner_id: int | None,
    slot_at: datetime,
    *,
    is_trial: bool,
    find_identities: FindIdentities = bi_accounts.identities,
) -> RecipientPages | None:
    """None where the report has no picture of a page. `owner_id`: of the push: as the owner sees it only in the owner's
    own pushes, and never for somebody who has a push sent to themselves to try it. Raises RenderingError."""
    if picture is None:
        return None
    is_owners = picture.shown_as_id is not None and picture.shown_as_id == owner_id
    shown_as = picture.shown_as_id if is_owners and not is_trial else None
    return RecipientPages(picture, slot_at, owner_id=shown_as, find_identities=find_identities)


def pages_for_editor(picture: PagePicture, editor: User, slot_at: datetime) -> RecipientPages:
    """For a preview: as the editor's own account sees it, whoever will get it. `picture` need not be saved. Raises
    RenderingError, with a sentence."""
    if _obstacle_of_connection() is None and not bi_accounts.identities([editor.pk]).get(editor.pk):
        raise RenderingError(
            Sentence("You have no account in the BI: its page is previewed with your own rights alone.")
        )
    return RecipientPages(picture, slot_at, owner_id=editor.pk)


def obstacle(*, now: datetime) -> Sentence | None:
    """Why no picture of a page can be taken at this installation now; None where nothing is in the way."""
    found = _obstacle_of_connection()
    if found is None and not is_served(jobs.SNAPSHOTS_QUEUE, now=now):
        return Sentence(
            "No worker takes pictures of pages: an administrator installs requirements/snapshots.txt and Chromium, and "
            "starts a worker with -Q snapshots."
        )
    return found


def _obstacle_of_connection() -> Sentence | None:
    saved = bi.connection()
    if saved.is_enabled and saved.base_url and saved.has_key:
        return None
    return Sentence("Nobody enters the BI from here: its address or key is missing, or it is switched off.")


def _view(picture: PagePicture, identity: str, slot_at: datetime) -> PageView:
    options = Options(Width(picture.width), Theme(picture.theme), is_cropped=picture.is_cropped)
    return PageView(picture.path, identity, picture.name, slot_at, options)
