"""How a session's program and device are called."""

from __future__ import annotations

import pytest

from accounts.authentication.user_agents import Device, device_of
from tests.accounts.conftest import DESKTOP, IPHONE_WECOM

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (IPHONE_WECOM, Device("企业微信", "iPhone")),
        (f"Mozilla/5.0 (Linux; Android 14) {WEBKIT} wxwork/4.1 MicroMessenger/7.0.1", Device("企业微信", "Android")),
        (f"Mozilla/5.0 (Windows NT 10.0) {WEBKIT} Chrome/107.0 wxwork/4.1.10", Device("企业微信", "Windows")),
        (f"Mozilla/5.0 (X11) {WEBKIT} wxworklocal/2.5 wxwork/2.5.0", Device("企业微信（私有部署）", "Linux")),
        (f"Mozilla/5.0 (iPhone) {WEBKIT} MicroMessenger/8.0.50", Device("微信", "iPhone")),
        (DESKTOP, Device("Chrome", "Linux")),
        (
            f"Mozilla/5.0 (Windows NT 10.0) {WEBKIT} Chrome/131.0 Safari/537.36 Edg/131.0",
            Device("Edge", "Windows"),
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/17 Safari/605.1.15", Device("Safari", "macOS")),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", Device("Firefox", "Linux")),
        ("Mozilla/5.0 (Phone; OpenHarmony 5.0) ArkWeb/4.1", Device("", "HarmonyOS")),
        ("curl/8.0", Device("", "")),
        ("", Device("", "")),
        ("<script>alert(1)</script>", Device("", "")),
    ],
)
def test_is_told_from_the_user_agent(user_agent: str, device: Device) -> None:
    assert device_of(user_agent) == device
