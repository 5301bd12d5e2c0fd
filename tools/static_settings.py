"""Settings for static checks (mypy's plug-in, missing migrations), without an environment."""

import os

from tests.services import ENVIRON, UNUSED_DATABASE_URL

os.environ.update(ENVIRON, VALKEY_URL="redis://127.0.0.1:1/0", DATABASE_URL=UNUSED_DATABASE_URL)

from guanwecom.settings import *  # noqa: F403  # the settings read the environment set above
