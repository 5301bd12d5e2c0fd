"""What the push engine is held against: the same calls by plain threads over requests, with nothing written down.

`messages_per_second` runs this module as a program, once for each process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import requests

from tests.sandbox_process import AGENTID

# As long as the messages of push_world.make_personal_messages. % stands for what differs.
TEXT = "您的销售额: % 元" + "。" * 60
VERSION = f"requests {requests.__version__}"


def messages_per_second(base_url: str, count: int, companies: int, *, processes: int, threads: int) -> float:
    """Tokens are fetched before. Raises RuntimeError where a call was refused."""
    sizes = map(str, (count // processes, companies, threads))
    command = [sys.executable, "-m", "benchmarks.bare_pool", base_url, *sizes]
    running = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(processes)]  # noqa: S603  # ourselves
    began, ended, accepted = zip(*(json.loads(process.communicate()[0]) for process in running), strict=True)
    if sum(accepted) != count:
        raise RuntimeError(f"{sum(accepted)} of {count} bare calls were accepted")
    return float(count / (max(ended) - min(began)))


def call_all(base_url: str, count: int, companies: int, threads: int, number: int) -> tuple[float, float, int]:
    """One process: when it began and ended, and how many calls were accepted."""
    tokens = []
    for company in range(companies):
        query = {"corpid": f"ww{company:016d}", "corpsecret": f"secret-{company}"}
        tokens.append(requests.get(f"{base_url}/cgi-bin/gettoken", params=query, timeout=20).json()["access_token"])
    numbers = iter(range(count))
    lock = threading.Lock()
    accepted: list[int] = []

    def work() -> None:
        session = requests.Session()
        session.trust_env = False
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            text = {"content": TEXT.replace("%", f"{number}-{n}")}
            body = {"touser": f"U{n % 500}", "msgtype": "text", "agentid": AGENTID, "text": text}
            data = json.dumps({**body, "enable_duplicate_check": 1}, ensure_ascii=False).encode()
            url = f"{base_url}/cgi-bin/message/send?access_token={tokens[n % companies]}"
            if session.post(url, data=data, timeout=20).json()["errcode"] == 0:
                accepted.append(n)

    pool = [threading.Thread(target=work) for _ in range(threads)]
    started = time.time()
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return started, time.time(), len(accepted)


if __name__ == "__main__":
    print(json.dumps(call_all(sys.argv[1], *map(int, sys.argv[2:]))))
