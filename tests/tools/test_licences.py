"""Admitted licences of dependencies. `make lint` checks all pinned packages."""

import pytest

from tools.licences import is_admitted


@pytest.mark.parametrize(
    ("licence", "is_fine"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("MIT AND AGPL-3.0-only", False),
        ("AGPL-3.0-only OR MIT", True),
        ("BSD License; GNU General Public License (GPL)", True),
        ("GPL-3.0-or-later", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_every_part_that_holds_must_be_admitted(licence: str, is_fine: bool) -> None:
    assert is_admitted(licence) is is_fine
