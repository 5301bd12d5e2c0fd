"""Which program a page is opened in."""

from __future__ import annotations

import pytest

from accounts.authentication.user_agents import Surface, surface_of
from tests.accounts.conftest import DESKTOP, IPHONE_WECOM

WEBKIT = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "surface"),
    [
        (IPHONE_WECOM, Surface.WECOM),
        (f"{WEBKIT} Mobile Safari/537.36 wxwork/4.1.20 MicroMessenger/7.0.1 Language/zh_CN", Surface.WECOM),
        (
            f"{WEBKIT} Chrome/107.0.5304.110 Safari/537.36 wxwork/4.1.10 (MicroMessenger/6.2) WindowsWechat",
            Surface.WECOM,
        ),
        (f"{WEBKIT} WXWORK/4.1.9 (MicroMessenger/6.2) WeChat/2.0.4 Safari/605.1.15", Surface.WECOM),
        (f"{WEBKIT} wxworklocal/2.5 wxwork/2.5.0 MicroMessenger/7.0.1", Surface.PRIVATE_WECOM),
        (f"{WEBKIT} Mobile/15E148 MicroMessenger/8.0.50(0x18003234) NetType/WIFI", Surface.WECHAT),
        (f"{WEBKIT} wxwork MicroMessenger/8.0", Surface.WECHAT),
        (DESKTOP, Surface.BROWSER),
        ("", Surface.BROWSER),
    ],
)
def test_is_told_from_the_user_agent(user_agent: str, surface: Surface) -> None:
    assert surface_of(user_agent) is surface


def test_only_wecom_signs_in_silently() -> None:
    assert [surface for surface in Surface if surface.is_inside_wecom] == [Surface.WECOM, Surface.PRIVATE_WECOM]
