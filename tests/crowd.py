"""A company with many people for tests that run real processes, and the count of each person's messages."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accounts.models import User, WeComAccount
from integrations.models import Corp
from tests.e2e.stack import Stack
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox


@contextmanager
def run_crowd(size: int, *, env: dict[str, str], root: Path, folder: Path) -> Iterator[Stack]:
    """Run the sandbox with one company of `size` linked people (p000, p001, …). No web, worker or beat runs yet."""
    members: list[dict[str, Any]] = [
        {"userid": f"p{number:03}", "name": f"员工{number}", "department": [2]} for number in range(size)
    ]
    with start_sandbox(seed={"companies": [company(members=members, tags=[])]}) as sandbox:
        corp = Corp.objects.create(
            name="北山制造",
            corpid=CORPID,
            agentid=AGENTID,
            secret=SECRET,
            api_base_url=sandbox.base_url,
            is_enabled=True,
        )
        for member in members:
            person = User.objects.create_user(member["userid"], name=member["name"])
            WeComAccount.objects.create(user=person, corp=corp, userid=member["userid"])
        yield Stack(env=env, root=root, folder=folder, sandbox=sandbox)


def count_messages_by_person(stack: Stack) -> Counter[str]:
    """Count each person's messages in the sandbox, by userid."""
    people = WeComAccount.objects.values_list("userid", flat=True)
    return Counter({userid: len(stack.sandbox.messages(CORPID, userid)) for userid in people})


def expect_one_each(size: int) -> Counter[str]:
    """Return the result of `count_messages_by_person` for `size` people with one message each."""
    return Counter({f"p{number:03}": 1 for number in range(size)})
