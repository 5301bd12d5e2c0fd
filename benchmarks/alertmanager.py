"""Prometheus Alertmanager as a peer: such personal messages through its own WeChat receiver, to the same sandbox."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.sandbox_process import AGENTID
from tools.services import free_port

PROGRAM = "prometheus-alertmanager"
AT_ONCE = 1000


def version() -> str:
    """As Debian's package says."""
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)  # noqa: S603  # a constant
    found = re.search(r"version (\S+)", said.stdout + said.stderr)
    return f"{PROGRAM} {found[1] if found else '?'}"


def messages_per_second(api_url: str, companies: list[tuple[str, str]], count: int, text: str) -> float:
    """Hand in `count` alerts, each a message to one person, until all are sent. `companies`: (CorpId, Secret) of each.

    Every alert is a group of its own without any wait. A tenth as many are sent before, for tokens and connections.
    Raises RuntimeError where Alertmanager reports a failure.
    """
    with _running(_config(api_url, companies, text)) as address:
        _sent(address, len(companies), range(count // 10), total=count // 10)
        started = time.perf_counter()
        _sent(address, len(companies), range(count // 10, count // 10 + count), total=count + count // 10)
        return count / (time.perf_counter() - started)


def _config(api_url: str, companies: list[tuple[str, str]], text: str) -> str:
    """JSON is YAML, too."""
    receivers = [
        {
            "name": f"company{number}",
            "wechat_configs": [
                {
                    "api_url": api_url,
                    "corp_id": corpid,
                    "api_secret": secret,
                    "agent_id": str(AGENTID),
                    "to_user": "{{ .CommonLabels.userid }}",
                    "message": text.replace("%", "{{ .CommonLabels.number }}"),
                    "message_type": "text",
                    "send_resolved": False,
                }
            ],
        }
        for number, (corpid, secret) in enumerate(companies)
    ]
    routes = [
        {"receiver": receiver["name"], "matchers": [f'company="{number}"']} for number, receiver in enumerate(receivers)
    ]
    waits = {"group_by": ["..."], "group_wait": "0s", "group_interval": "1h", "repeat_interval": "24h"}
    return json.dumps({"route": {"receiver": "company0", **waits, "routes": routes}, "receivers": receivers})


@contextmanager
def _running(config: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alertmanager.yml"
        path.write_text(config, encoding="utf-8")
        address = f"http://127.0.0.1:{free_port()}"
        command = [
            *(PROGRAM, f"--config.file={path}", f"--storage.path={folder}/data", "--cluster.listen-address="),
            *(f"--web.listen-address={address.removeprefix('http://')}", "--log.level=error"),
        ]
        process = subprocess.Popen(command)  # noqa: S603  # a program of the system, our own arguments
        try:
            _wait_until_ready(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"{PROGRAM} ended with {process.returncode}")
        try:
            if requests.get(f"{address}/-/ready", timeout=1).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise RuntimeError(f"{PROGRAM} did not start")


def _sent(address: str, companies: int, numbers: range, *, total: int) -> None:
    """Hand in the alerts of these numbers, and wait until `total` messages went out."""
    alerts = [
        {
            "labels": {
                "alertname": "sales",
                "company": str(n % companies),
                "userid": f"U{n // companies % 500}",
                "number": str(n),
            }
        }
        for n in numbers
    ]
    for start in range(0, len(alerts), AT_ONCE):
        requests.post(f"{address}/api/v2/alerts", json=alerts[start : start + AT_ONCE], timeout=60).raise_for_status()
    while (done := _counted(address, "alertmanager_notifications_total")) < total:
        if failed := _counted(address, "alertmanager_notifications_failed_total"):
            raise RuntimeError(f"{failed:.0f} of {done:.0f} messages failed")
        time.sleep(0.05)


def _counted(address: str, name: str) -> float:
    page = requests.get(f"{address}/metrics", timeout=10).text
    lines = [line for line in page.splitlines() if line.startswith(name) and 'integration="wechat"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
