"""Applies a company's directory policy to people: in runs, a thousand members in a transaction, and at WeCom's events.

An interrupted run is started again from the beginning, and writes only the remaining differences.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy

from accounts.audit import services
from accounts.directory.groups import GroupRules, sync_groups, sync_groups_of_unlinked_people
from accounts.directory.linking import (
    COPIED_COLUMNS,
    create_people,
    find_differences,
    link_matches,
    read_wecom_values,
)
from accounts.directory.matching import filter_unlinked, match_members
from accounts.models import AuditEntry, DirectoryPolicy, LinkConflict, User, WeComAccount, fold_userid
from accounts.users.companies import choose_primary_accounts, ownership
from integrations.callbacks import EventBatch
from integrations.core.background import database_now, repeat_on_conflict
from integrations.core.hooks import RenameRefusedError
from integrations.directory.sync import JOB, request_run, run_sync
from integrations.hooks import Hook
from integrations.jobs.registry import BROKEN, RunAgain, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import Corp, Job, Member, SyncRun

logger = logging.getLogger(__name__)

Action = AuditEntry.Action
Reason = LinkConflict.Reason


# Called in the transaction that applies the policy, with the company, the folded userids of members who may not sign
# in, and the current time. Each run calls it for all such members, so it must be quick if there is nothing to do.
members_without_access: Hook[[Corp, Sequence[str], datetime], None] = Hook()


class PolicyStep:
    """The changes that a policy makes for `members`, inside the caller's transaction."""

    def __init__(self, *, corp: Corp, policy: DirectoryPolicy, members: Sequence[Member], now: datetime) -> None:
        self._corp, self._policy, self._members, self._now = corp, policy, members, now
        self._counts: Counter[str] = Counter()
        userids = [one.userid_folded for one in members]
        accounts = WeComAccount.objects.filter(corp=corp, userid_folded__in=userids).select_related("user")
        self._accounts = {one.userid_folded: one for one in accounts}

    def apply_policy(self, rules: GroupRules | None) -> Counter[str]:
        """Write all changes. Return the number of each kind. `rules`: the groups that departments give; None to read
        them."""
        self._unlink_leavers([one for one in self._members if one.presence == Member.Presence.DELETED])
        eligible = [one for one in self._members if one.is_eligible]
        linked = [one for one in eligible if one.userid_folded in self._accounts]
        # Copy WeCom's spelling of the userids.
        changes = {}
        for member in linked:
            account = self._accounts[member.userid_folded]
            if account.userid != member.userid and not _is_protected(account.user):
                unchanged = WeComAccount.objects.filter(pk=account.pk, userid_folded=member.userid_folded)
                unchanged.update(userid=member.userid)
                changes[account.pk] = [["userid", account.userid, member.userid]]
        self._counts["respelled"] += len(changes)
        services.record_accounts(changes, Action.CHANGED)
        unlinked = [one for one in eligible if one.userid_folded not in self._accounts]
        matches = match_members(corp=self._corp, policy=self._policy, members=unlinked)
        new = [(match, match.user) for match in matches if match.user is not None and match.conflict is None]
        link_matches(corp=self._corp, matches=[match for match, _user in new])
        self._counts["linked"] += len(new)
        if self._policy.mode == DirectoryPolicy.Mode.CREATE:
            people = [(one, self._accounts[one.userid_folded].user) for one in linked]
            self._update_people([*people, *((match.member, user) for match, user in new)])
        unknown = [match.member for match in matches if match.user is None and match.conflict is None]
        self._counts["created"] += len(create_people(corp=self._corp, members=unknown)) if unknown else 0
        # Store why members are linked with nobody.
        wanted = {match.member.pk: match.conflict for match in matches if match.conflict is not None}
        wanted |= {one.pk: Reason.CAME_BACK for one in self._members if one.waits_since is not None}
        rows = LinkConflict.objects.filter(member__in=[one.pk for one in self._members])
        stored = dict(rows.values_list("member_id", "reason"))
        if outdated := [pk for pk in stored if wanted.get(pk) != stored[pk]]:
            LinkConflict.objects.filter(member__in=outdated).delete()
        missing = [(pk, reason) for pk, reason in wanted.items() if stored.get(pk) != reason]
        conflicts = [LinkConflict(member_id=pk, reason=reason, since=self._now) for pk, reason in missing]
        LinkConflict.objects.bulk_create(conflicts, batch_size=500)
        # Continue with all people who were linked before this step or are linked now.
        userids = [one.userid_folded for one in self._members]
        now_linked = WeComAccount.objects.filter(corp=self._corp, userid_folded__in=userids)
        user_ids = {one.user_id for one in self._accounts.values()} | set(now_linked.values_list("user_id", flat=True))
        choose_primary_accounts(user_ids)
        self._counts += sync_groups(corp=self._corp, user_ids=user_ids, rules=rules)
        if ineligible := [one.userid_folded for one in self._members if not one.is_eligible]:
            members_without_access(self._corp, ineligible, self._now)
        return +self._counts

    # --- Leavers ------------------------------------------------------------------------------------------------------

    def _unlink_leavers(self, deleted: list[Member]) -> None:
        """Unlink people whose members were deleted in WeCom, and disable them if the policy says so."""
        accounts = [self._accounts[one.userid_folded] for one in deleted if one.userid_folded in self._accounts]
        accounts = [one for one in accounts if not _is_protected(one.user)]
        if not accounts:
            return
        rows = WeComAccount.objects.filter(pk__in=[one.pk for one in accounts], corp=self._corp)
        self._counts["unlinked"] += rows.update(userid="", userid_folded="", left_at=self._now)
        services.record_accounts({one.pk: [["userid", one.userid, None]] for one in accounts}, Action.CHANGED)
        if self._policy.leavers == DirectoryPolicy.Leavers.DISABLE:
            user_ids = {one.user_id for one in accounts}
            elsewhere = WeComAccount.objects.complete().filter(user__in=user_ids)
            leaving = _filter_unprotected(user_ids).filter(is_active=True).exclude(pk__in=elsewhere.values("user_id"))
            keys = list(leaving.select_for_update(no_key=True).values_list("pk", flat=True))
            if keys:
                self._counts["disabled"] += User.objects.filter(pk__in=keys).update(is_active=False)
                services.record_people(dict.fromkeys(keys, [["is_active", True, False]]), Action.CHANGED)
                ownership().let_successors_take_over(keys)

    # --- Linked members -----------------------------------------------------------------------------------------------

    def _update_people(self, linked: list[tuple[Member, User]]) -> None:
        """Copy name, e-mail and mobile from WeCom; values that WeCom withholds or leaves empty stay."""
        differing = [
            (member, user)
            for member, user in linked
            if not _is_protected(user) and find_differences(user, read_wecom_values(member))
        ]
        if not differing:
            return
        accounts = WeComAccount.objects.complete().filter(
            corp=self._corp, user__in=[user.pk for _one, user in differing]
        )
        newest = dict(accounts.order_by("pk").values_list("user_id", "userid_folded"))  # of a person's several accounts
        values = {
            user.pk: read_wecom_values(one) for one, user in differing if newest.get(user.pk) == one.userid_folded
        }
        if not values:
            return
        people = list(_filter_unprotected(list(values)).select_for_update(no_key=True).order_by("pk"))
        changes = {person.pk: find_differences(person, values[person.pk]) for person in people}
        for person in people:
            for name, _old, new in changes[person.pk]:
                setattr(person, name, new)
        User.objects.bulk_update(people, list(COPIED_COLUMNS), batch_size=500)
        self._counts["updated"] += len(people)
        services.record_people(changes, Action.CHANGED)


def _is_protected(user: User) -> bool:
    """Return whether the directory must not change the user."""
    return user.is_staff or user.is_superuser


def _filter_unprotected(user_ids: set[int] | list[int]) -> QuerySet[User]:
    return User.objects.filter(pk__in=user_ids, is_staff=False, is_superuser=False)


# Number of members whom one transaction handles.
STEP = 1000


def preview_policy(*, corp: Corp, policy: DirectoryPolicy) -> Counter[str]:
    """Count what `policy` would do with the unlinked members of the last copy: `created`, `linked`, and each reason why
    a member could not be matched. Writes nothing; `policy` need not be saved."""
    counts, after = Counter[str](), 0
    unlinked = filter_unlinked(Member.objects.eligible().filter(corp=corp)).order_by("pk")
    while members := list(unlinked.filter(pk__gt=after)[:STEP]):
        for one in match_members(corp=corp, policy=policy, members=members):
            counts[one.conflict or ("created" if one.user is None else "linked")] += 1
        after = members[-1].pk
    return counts


def apply_run(*, run: SyncRun, job: JobRun) -> SyncRun:
    """Apply a copied directory to people: the second half of a run. A repeat starts again, and writes only
    differences."""
    rows, rules, corp, after = SyncRun.objects.filter(pk=run.pk), GroupRules(run.corp), run.corp, 0
    with job.edit_row(rows) as locked_run:
        locked_run.applied_count = 0
    policies = DirectoryPolicy.objects.select_related("corp").filter(corp=corp)
    # Read the policy again for every step, so that switching it off takes effect at once.
    while (policy := policies.first()) is not None and not policy.is_off:
        keys = list(corp.members.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:STEP])
        if not keys:
            break
        repeat_on_conflict(partial(_apply_run_step, rows, policy, rules, keys, job))
        after = keys[-1]
    last_user: int | None = 0
    while last_user is not None:
        with job.edit_row(rows) as locked_run:
            written, last_user = sync_groups_of_unlinked_people(corp=corp, after=last_user)
            locked_run.applied_counts = dict(Counter(locked_run.applied_counts) + written)
    with job.edit_row(rows) as locked_run:
        locked_run.applied_at = job.clock()
    logger.info("people of directory run=%s corp=%s counts=%s", locked_run.pk, corp.pk, locked_run.applied_counts)
    return locked_run


def _apply_run_step(
    rows: QuerySet[SyncRun], policy: DirectoryPolicy, rules: GroupRules, keys: list[int], job: JobRun
) -> None:
    """Apply the policy to the members with these keys, and add the counts to the run."""
    now, corp = job.clock(), policy.corp
    with job.edit_row(rows) as locked_run:
        members = list(corp.members.filter(pk__in=keys).order_by("pk"))
        written = PolicyStep(corp=corp, policy=policy, members=members, now=now).apply_policy(rules)
        locked_run.applied_counts = dict(Counter(locked_run.applied_counts) + written)
        locked_run.applied_count += len(keys)


# --- Runs. A run has two halves: it copies WeCom's directory, then applies it to people ------------------------------

# Nightly runs begin at 03:00 in the site's time zone, each company at another minute, since WeCom also limits calls per
# address. A run that is not requested within three hours, because the site is down, is left to the next night.
FIRST_HOUR = 3
SPREAD_MINUTES = 60
REQUEST_WINDOW = timedelta(hours=3)


def request_nightly_runs(*, now: datetime) -> None:
    """Request the nightly runs that are due. A repeat does not request them again."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    for policy in DirectoryPolicy.objects.in_force().select_related("corp"):
        moment = midnight + timedelta(hours=FIRST_HOUR, minutes=policy.corp.pk * 7 % SPREAD_MINUTES)
        if not moment <= now < moment + REQUEST_WINDOW:
            continue
        tonight = SyncRun.objects.filter(corp=policy.corp, trigger=SyncRun.Trigger.NIGHTLY, requested_at__gte=moment)
        if not tonight.exists():
            request_run(corp=policy.corp, trigger=SyncRun.Trigger.NIGHTLY, now=now)


def give_up_sync(job: Job) -> None:
    """End the run whose job was given up, so that the next nightly run can be requested."""
    now, corp_id = database_now(), int(job.key or 0)
    ended = {"status": SyncRun.Status.FAILED, "phase": SyncRun.Phase.FINISHED, "problem": BROKEN, "finished_at": now}
    SyncRun.objects.unfinished().filter(corp=corp_id).update(**ended)


@job_kind(
    JOB,
    label=gettext_lazy("Synchronisation of a directory"),
    explain=lambda _job: "",  # the page of the run explains why it stopped
    seconds=6 * 3600,
    see="integrations.view_syncrun",
    retry="integrations.sync_directory",
    repeats_errors=True,
    give_up=give_up_sync,
)
def continue_sync(job: JobRun) -> dict[str, Any] | RunAgain:
    """Carry out both halves of a company's run, or what is left of them after an interruption."""
    runs = SyncRun.objects.select_related("corp").filter(corp=int(job.job.key or 0))
    newest = runs.first()
    if newest is not None and newest.problem == BROKEN:  # the job was given up and is now retried
        runs.filter(pk=newest.pk).update(status=SyncRun.Status.WAITING, problem="", finished_at=None)
    run = runs.unfinished().first()
    if run is not None:
        policy = DirectoryPolicy.objects.filter(corp=run.corp_id).first()
        run = run_sync(run=run, job=job, number_field=policy.number_field if policy is not None else "")
        if run.next_try_at is not None and run.is_unfinished:
            return RunAgain(run.next_try_at)
    last = runs.filter(status=SyncRun.Status.DONE).first()
    if last is not None and last.applied_at is None:
        apply_run(run=last, job=job)
    return {}


def follow_rename(corp: Corp, old: str, new: str) -> None:
    """Move the account of a renamed member, inside the transaction that renames the member.

    Does nothing if nobody has the old userid. A person who had the new userid is unlinked, since it now belongs to the
    renamed member. If the directory created that person for the new userid, because WeCom's events came out of order,
    and the person never signed in, the person is also disabled.

    Raises RenameRefusedError if either account belongs to a person who may enter the administration.
    """
    folded, former = fold_userid(new), fold_userid(old)
    concerned = WeComAccount.objects.filter(corp=corp, userid_folded__in=(former, folded))
    if folded != former and concerned.filter(Q(user__is_staff=True) | Q(user__is_superuser=True)).exists():
        raise RenameRefusedError
    accounts = WeComAccount.objects.select_for_update().filter(corp=corp)
    account = accounts.for_userid(old).first()
    if account is None:
        return
    changes: dict[int, list[services.Change]] = {account.pk: [["userid", account.userid, new]]}
    holder = accounts.for_userid(new).exclude(pk=account.pk).first()
    if holder is not None:
        changes[holder.pk] = [["userid", holder.userid, None]]
        WeComAccount.objects.filter(pk=holder.pk).update(userid="", userid_folded="")
        choose_primary_accounts([holder.user_id])
        created_for_userid = Q(username__iexact=new) | Q(made_username=F("username"))
        people = User.objects.select_for_update(no_key=True).filter(
            created_for_userid, pk=holder.user_id, last_login__isnull=True
        )
        user = people.filter(is_active=True, is_staff=False, is_superuser=False).first()
        has_account = WeComAccount.objects.complete().filter(user=holder.user_id)
        if user is not None and not user.has_usable_password() and not has_account.exists():
            User.objects.filter(pk=user.pk).update(is_active=False)
            services.record_people({user.pk: [["is_active", True, False]]}, AuditEntry.Action.CHANGED)
            ownership().let_successors_take_over([user.pk])
    WeComAccount.objects.filter(pk=account.pk).update(userid=new, userid_folded=folded)
    proven = WeComAccount.objects.filter(pk=account.pk, proven_corp_id=corp.pk, proven_userid=former)
    proven.update(proven_userid=folded)  # the last sign-in stays valid for the renamed account
    services.record_accounts(changes, AuditEntry.Action.CHANGED)


# --- WeCom's events, which apply the policy to the people concerned at once -------------------------------------------


def apply_events(batch: EventBatch) -> None:
    """Apply the policy to all members that the events have changed."""
    for start in range(0, len(batch.touched), STEP):
        repeat_on_conflict(partial(_apply_event_step, batch, batch.touched[start : start + STEP]))


@transaction.atomic
def _apply_event_step(batch: EventBatch, keys: list[int]) -> None:
    batch.lock_job()
    policy = DirectoryPolicy.objects.in_force().filter(corp=batch.corp).first()
    members = list(Member.objects.filter(corp=batch.corp, pk__in=keys).order_by("pk"))
    if policy is not None:
        PolicyStep(corp=batch.corp, policy=policy, members=members, now=batch.clock()).apply_policy(None)
