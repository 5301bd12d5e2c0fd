"""Why a backup cannot be made or restored."""


class BackupError(Exception):
    """A sentence or more for the operator. Nothing was changed unless it says so."""
