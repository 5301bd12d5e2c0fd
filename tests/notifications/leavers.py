"""The ways in which a person stops being reachable in a company's WeCom."""

from accounts.models import DirectoryPolicy, User, WeComAccount
from integrations.models import Corp, Member
from tests.notifications.factories import NOW


def suspend(corp: Corp, userid: str = "lilei") -> None:
    """Disable the member in WeCom under a directory policy: the person here stays active."""
    DirectoryPolicy.objects.create(corp=corp, mode="link")
    Member.objects.create(
        corp=corp, userid=userid, userid_folded=userid, status="disabled", first_seen_at=NOW, changed_at=NOW
    )


def disable(corp: Corp, userid: str = "lilei") -> None:
    """Do what a directory policy with "disable" does after the member is deleted in WeCom."""
    User.objects.filter(wecom_accounts__corp=corp, wecom_accounts__userid_folded=userid).update(is_active=False)


def unlink(corp: Corp, userid: str = "lilei") -> None:
    """Do what a directory policy with "unlink" does after WeCom deleted the member: the person stays active."""
    accounts = WeComAccount.objects.filter(corp=corp, userid_folded=userid)
    assert accounts.update(userid="", userid_folded="", left_at=NOW) == 1


def lose_userid(corp: Corp, userid: str = "lilei") -> None:
    """Remove the userid, as an administrator does, or WeCom when it gives the userid to somebody else."""
    WeComAccount.objects.filter(corp=corp, userid_folded=userid).update(userid="", userid_folded="")
