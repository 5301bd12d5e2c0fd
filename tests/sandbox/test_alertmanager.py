"""Prometheus Alertmanager's wechat receiver sends a firing and a resolved alert through the sandbox."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.sandbox.programs import alertmanager
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle
from tools.services import free_port

CONFIGURATION = """
route:
  receiver: wecom
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: wecom
    wechat_configs:
      - api_url: {base_url}/cgi-bin/
        corp_id: {corpid}
        api_secret: {secret}
        agent_id: "{agentid}"
        to_user: lilei|ghost
        message_type: {message_type}
        send_resolved: true
        message: '{{{{ .Status }}}} {{{{ .CommonLabels.alertname }}}} <{{{{ .CommonAnnotations.summary }}}}>'
"""


@pytest.fixture(params=["text", "markdown"])
def address(request: pytest.FixtureRequest, sandbox: SandboxHandle, tmp_path: Path) -> Iterator[str]:
    """A running Alertmanager that knows the sandbox as WeCom."""
    program, port = alertmanager(), free_port()
    file = tmp_path / "alertmanager.yml"
    values = {"corpid": CORPID, "secret": SECRET, "agentid": AGENTID, "message_type": request.param}
    file.write_text(CONFIGURATION.format(base_url=sandbox.base_url, **values), encoding="utf-8")
    process = subprocess.Popen(
        [
            program,
            f"--config.file={file}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "Alertmanager ended"
        try:
            if requests.get(f"{address}/-/ready", timeout=60).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError("Alertmanager did not get ready")


def post_alert(address: str, *, resolved: bool) -> None:
    now = datetime.now(UTC)
    alert = {
        "labels": {"alertname": "库存不足", "shop": "华东"},
        "annotations": {"summary": "剩余 3 件"},
        "startsAt": (now - timedelta(minutes=1)).isoformat(),
        "endsAt": (now - timedelta(seconds=1) if resolved else now + timedelta(minutes=5)).isoformat(),
    }
    requests.post(f"{address}/api/v2/alerts", json=[alert], timeout=60).raise_for_status()


def wait_for(sandbox: SandboxHandle, count: int) -> list[str]:
    """The texts on 李雷's phone, as soon as there are so many."""
    for _ in range(1200):
        messages = sandbox.messages(CORPID, "lilei")
        if len(messages) >= count:
            return [message[message["msgtype"]]["content"].strip() for message in messages]
        time.sleep(0.05)
    raise AssertionError(f"{len(messages)} of {count} alerts came; calls: {sandbox.calls()}")


def test_firing_and_resolved(address: str, sandbox: SandboxHandle) -> None:
    post_alert(address, resolved=False)
    assert wait_for(sandbox, 1) == ["firing 库存不足 <剩余 3 件>"]

    post_alert(address, resolved=True)
    assert wait_for(sandbox, 2) == ["firing 库存不足 <剩余 3 件>", "resolved 库存不足 <剩余 3 件>"]
    assert {call["errcode"] for call in sandbox.calls("message/send")} == {0}
