"""Many people at once: invitations, and the directory from a CSV file. Pages 90975 and 90979 to 90983."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, endpoint, numbers, texts
from wecom_sandbox.api.contacts import (
    department_create,
    department_update,
    sees,
    sees_department,
    user_create,
    user_update,
)
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http.typed import read_integer
from wecom_sandbox.messages import content
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import ROOT_DEPARTMENT, BrokenRule, Department, fold
from wecom_sandbox.state.events import Callback, Outgoing, event
from wecom_sandbox.state.files import Job

_USERS_MOST, _OTHERS_MOST = 1000, 100
# Columns of WeCom's sample files (batch_user_sample.csv, batch_party_sample.csv), and what newer ones are called [2].
_MEMBER_COLUMNS = {
    "姓名": "name",
    "帐号": "userid",
    "账号": "userid",
    "手机号": "mobile",
    "手机": "mobile",
    "邮箱": "email",
    "企业邮箱": "biz_mail",
    "所在部门": "department",
    "部门": "department",
    "职位": "position",
    "职务": "position",
    "别名": "alias",
    "座机": "telephone",
    "地址": "address",
}
_PARTY_COLUMNS = {"部门名称": "name", "部门ID": "id", "父部门ID": "parentid", "排序": "order"}
# A department's row may do several of these at once.
_CREATED, _RENAMED, _MOVED, _REORDERED = 1, 2, 4, 8


@endpoint("POST", "batch/invite", APP, CONTACTS)
def batch_invite(call: Call) -> Json:
    """Who can be found is invited, the others are named; an answer promises no invitation. Page 90975.

    Nobody named gives 81012, nobody that can be found 81013: the table has them for that; the page names no number [m].
    """
    users = texts(call.document.get("user"), "user", most=_USERS_MOST, too_many=40032)
    parties = numbers(call.document.get("party"), "party", most=_OTHERS_MOST, too_many=82002)
    tagids = numbers(call.document.get("tag"), "tag", most=_OTHERS_MOST, too_many=82003)
    if not users and not parties and not tagids:
        raise ApiError(81012)
    members = {userid: call.company.directory.find(userid) for userid in users}
    answer: Json = {
        "invaliduser": [fold(one) for one, member in members.items() if member is None or not sees(call, member)],
        "invalidparty": [number for number in parties if not sees_department(call, number)],
        "invalidtag": [number for number in tagids if number not in call.company.directory.tags],
    }
    if [len(members), len(parties), len(tagids)] == [len(rows) for rows in answer.values() if isinstance(rows, list)]:
        raise ApiError(81013, fields=answer)
    return answer


@endpoint("POST", "batch/syncuser", CONTACTS)
def batch_syncuser(call: Call) -> Json:
    """Members of the file are added or changed; the others stay."""
    table = _table(call, _MEMBER_COLUMNS, "userid")
    return _start(call, "sync_user", len(table.lines), (_put_member(call, row) for row in table.rows()))


@endpoint("POST", "batch/replaceuser", CONTACTS)
def batch_replaceuser(call: Call) -> Json:
    """The same, and members that are not in the file are deleted."""
    table = _table(call, _MEMBER_COLUMNS, "userid")
    return _start(call, "replace_user", len(table.lines), _replace_members(call, table))


@endpoint("POST", "batch/replaceparty", CONTACTS)
def batch_replaceparty(call: Call) -> Json:
    """Departments of the file are added or changed; others are deleted where nobody and nothing stands in them."""
    table = _table(call, _PARTY_COLUMNS, "id")
    return _start(call, "replace_party", len(table.lines), _replace_departments(call, table))


@endpoint("GET", "batch/getresult", CONTACTS)
def batch_getresult(call: Call) -> Json:
    """`status` 1: it began, 2: rows are being done, 3: all are. Only the newest five jobs have results (40089)."""
    job, is_done = ask(call)
    answer: Json = {"status": 3, "type": job.kind, "total": job.total, "percentage": 100, "result": job.result}
    if is_done:
        return answer
    unfinished = {"status": 2, "percentage": job.percentage} if job.is_under_way else {"status": 1, "percentage": 0}
    return answer | unfinished | {"result": []}


def _replace_members(call: Call, table: _Table) -> Iterator[Json]:
    """Each row of the file, then each member who is not in it."""
    directory = call.company.directory
    named = set()
    for row in table.rows():
        named.add(fold(str(row["userid"])))
        yield _put_member(call, row)
    others = [one for one in directory.members if one not in named]
    for start in range(0, len(others), ROWS_AT_ONCE):
        # Somebody else may have deleted some of them meanwhile.
        found = (directory.members.get(one) for one in others[start : start + ROWS_AT_ONCE])
        userids = [one.userid for one in found if one is not None]
        administration.remove_members(call.world, call.company, userids, tell_contacts=False)
        yield from ({"userid": userid, "errcode": 0, "errmsg": "ok"} for userid in userids)


def _replace_departments(call: Call, table: _Table) -> Iterator[Json | None]:
    """Each row of the file, then the others, the lowest first, which have no result."""
    named: set[object] = {ROOT_DEPARTMENT}
    for row in table.rows():
        named.add(row.get("id"))
        yield _put_party(call, row)
    for _, department in reversed(list(call.company.directory.tree())):
        if department.id not in named:
            _remove_empty(call, department)
            yield None


def _start(call: Call, kind: str, total: int, rows: Iterable[Json | None]) -> Json:
    given = content.child(call.document, "callback")
    callback = None
    if given:
        names = ("url", "token", "encodingaeskey")
        url, token, key = (content.text(given, name, missing=40063) for name in names)
        callback = Callback(url, token, key)
    return {"jobid": start(call, kind, total=total, rows=rows, callback=callback)}


@dataclass(frozen=True, slots=True)
class _Table:
    """A file's columns by our names, and its lines, of which rows are made when their turn comes."""

    names: list[str]
    lines: list[list[str]]

    def rows(self) -> Iterator[Json]:
        return (_row(self.names, line) for line in self.lines)


def _table(call: Call, columns: dict[str, str], key: str) -> _Table:
    """The file. Raises ApiError 41006, 40007, or 40092 for a file that is no such table."""
    media_id = call.text("media_id", missing=41006)
    media = call.world.media.get(media_id)
    if media is None or media.corpid != call.company.corpid or call.now >= media.expires_at or media.kind != "file":
        raise ApiError(40007)
    try:
        lines = [line for line in csv.reader(io.StringIO(media.body.decode("utf-8-sig")), strict=True) if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ApiError(40092) from error
    names = [columns.get(name.strip(), "") for name in lines[0]] if lines else []
    if key not in names:
        raise ApiError(40092)
    return _Table(names, lines[1:])


def _row(names: list[str], line: list[str]) -> Json:
    """Empty cells change nothing."""
    row: Json = {name: cell.strip() for name, cell in zip(names, line, strict=False) if name and cell.strip()}
    for name in ("id", "parentid", "order"):
        if name in row:
            row[name] = read_integer(str(row[name]))
    if "department" in row:
        row["department"] = [read_integer(number.strip()) for number in str(row["department"]).split(";")]
    return {"userid": ""} | row if "userid" in names else row


def _put_member(call: Call, row: Json) -> Json:
    exists = call.company.has_member(str(row["userid"]))
    return {"userid": row["userid"]} | _outcome(call, row, user_update if exists else user_create)


def _put_party(call: Call, row: Json) -> Json:
    number = row.get("id")
    if not isinstance(number, int):
        return {"action": _CREATED, "partyid": 0} | _refusal(ApiError(60123))
    old = call.company.directory.departments.get(number)
    action = _CREATED if old is None else _changes(old, row)
    outcome = _outcome(call, row, department_create if old is None else department_update)
    return {"action": action, "partyid": number} | outcome


def _changes(old: Department, row: Json) -> int:
    bits = ((_RENAMED, "name"), (_MOVED, "parentid"), (_REORDERED, "order"))
    return sum(bit for bit, name in bits if name in row and row[name] != getattr(old, name))


def _outcome(call: Call, row: Json, change: Callable[[Call], object]) -> Json:
    """What the single call says to this row."""
    try:
        change(replace(call, _document=row))
    except ApiError as error:
        return _refusal(error)
    return {"errcode": 0, "errmsg": "ok"}


def _refusal(error: ApiError) -> Json:
    return {"errcode": error.code, "errmsg": error.text}


def _remove_empty(call: Call, department: Department) -> None:
    try:
        administration.remove_department(call.world, call.company, department.id, tell_contacts=False)
    except (BrokenRule, KeyError):
        # Somebody or something stands in it, or it is gone.
        return


# Rows that are done before other calls have their turn.
ROWS_AT_ONCE = 100


def start(
    call: Call,
    kind: str,
    *,
    total: int,
    rows: Iterable[dict[str, object] | None],
    callback: Callback | None = None,
) -> str:
    """The id of a job that does `rows`, of which each is something done and most have a result.

    `callback`: who hears of its end, where it is told at all. Where nobody hears of it, the first answers to the
    question for the result say that it began (setting job_pending_answers): a program must ask again.
    """
    agentid = None if call.app is None else call.app.agentid
    pending = 0 if callback is not None else call.world.settings.job_pending_answers
    job = Job(call.company.corpid, agentid, kind, total, [], pending, is_under_way=True)
    call.world.jobs.add(job)
    call.world.in_slices(_work(call, job, rows, callback))
    return job.jobid


def _work(
    call: Call, job: Job, rows: Iterable[dict[str, object] | None], callback: Callback | None
) -> Generator[None, None, None]:
    """Ends early where its company is gone, or everything was forgotten."""
    world = call.world
    result: list[dict[str, object]] = []
    job.result = result
    jobs, outbox = world.jobs, world.outbox
    for number, row in enumerate(rows, 1):
        if row is not None:
            result.append(row)
        if number % ROWS_AT_ONCE == 0:
            yield
            if world.jobs is not jobs or world.companies.get(job.corpid) is not call.company:
                return
    job.total, job.is_under_way = len(result), False
    if callback is not None:
        told = {"JobId": job.jobid, "JobType": job.kind, "ErrCode": 0, "ErrMsg": "ok"}
        elements = event(job.corpid, job.agentid, "batch_job_result", now=world.now(), BatchJob=told)
        outbox.add(Outgoing(job.corpid, job.agentid, elements, callback=callback))


def ask(call: Call) -> tuple[Job, bool]:
    """The job of `jobid` in the query, and whether it is done. Raises ApiError 40063, 40088 or 40089."""
    jobid = call.query.get("jobid", "")
    if not jobid:
        raise ApiError(40063)
    job = call.world.jobs.find(jobid, corpid=call.company.corpid)
    if job is None or job.agentid != (None if call.app is None else call.app.agentid):
        raise ApiError(40088)
    if job.result is None:
        raise ApiError(40089)
    if job.is_under_way:
        return job, False
    if job.pending:
        job.pending -= 1
        return job, False
    return job, True
