"""Settings for static checks (mypy's plug-in, missing migrations), without an environment."""

import os

from tests.services import ENVIRON, NOT_YET_STARTED

os.environ.update(ENVIRON, VALKEY_URL="redis://127.0.0.1:1/0", DATABASE_URL=NOT_YET_STARTED)

from guanwecom.settings import *  # noqa: F403  # the settings read the environment set above
