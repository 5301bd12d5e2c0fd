"""The storages of static files (settings.STORAGES): Django's and WhiteNoise's, which make each address once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.staticfiles.storage import StaticFilesStorage
from whitenoise.storage import CompressedManifestStaticFilesStorage

if TYPE_CHECKING:
    StorageBase = StaticFilesStorage
else:
    StorageBase = object


class KeptAddresses(StorageBase):
    """A page names some twenty files, a list two icons in each row. Their addresses change with a new start alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._addresses: dict[str | None, str] = {}

    def url(self, name: str | None, *args: Any, **kwargs: Any) -> str:
        """Raises ValueError where `collectstatic` has collected no such file."""
        if name not in self._addresses:
            self._addresses[name] = super().url(name, *args, **kwargs)
        return self._addresses[name]


class SourceFiles(KeptAddresses, StaticFilesStorage):
    """As they lie in the source."""


class CollectedFiles(KeptAddresses, CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # has no types
    """Those that `collectstatic` has collected, each under a name that its content gives."""
