"""Uploaded files, and pictures in messages of robots."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

# Limits of all files; above them the oldest are dropped.
BYTES_MOST = 512 * 1024 * 1024
FILES_MOST = 100_000


@dataclass(slots=True)
class Media:
    """A file. `kind`: image, voice, video or file."""

    media_id: str
    corpid: str
    kind: str
    filename: str
    content_type: str
    body: bytes
    expires_at: float


class Files:
    """Files by media_id. The newest is kept, however large it is."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, Media] = OrderedDict()
        self._bytes = 0

    def add(self, media: Media) -> None:
        self._remove(media.media_id)
        self._files[media.media_id] = media
        self._bytes += len(media.body)
        while len(self._files) > FILES_MOST or (self._bytes > BYTES_MOST and len(self._files) > 1):
            self._remove(next(iter(self._files)))

    def get(self, media_id: str) -> Media | None:
        return self._files.get(media_id)

    def forget_company(self, corpid: str) -> None:
        for media in [one for one in self if one.corpid == corpid]:
            self._remove(media.media_id)

    def _remove(self, media_id: str) -> None:
        media = self._files.pop(media_id, None)
        self._bytes -= 0 if media is None else len(media.body)

    def __iter__(self) -> Iterator[Media]:
        """Iterate, oldest first."""
        return iter(self._files.values())
