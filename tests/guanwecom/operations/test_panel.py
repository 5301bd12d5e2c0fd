"""The engine's panel on the start page and on the page of operation, who sees it, and the file for support."""

import io
import re
import zipfile
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client, override_settings
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import User
from guanwecom.version import VERSION
from integrations.core import installation
from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import Heartbeat, Installation
from tests.guanwecom.operations.conftest import heard
from tests.notifications.factories import make_corp, make_manager, make_superuser
from tests.rows import join

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("running")]
COMMAND = "systemctl restart guanwecom-beat"


def index(person: User, language: str = "zh-hans", page: str = "/admin/") -> str:
    client = Client()
    client.force_login(person)
    text = strip_tags(client.get(page, headers={"accept-language": language}).content.decode())
    return " ".join(text.split())


def kill_beat() -> None:
    heard(Heartbeat.Kind.BEAT, "host:1", seconds_ago=STALE_SECONDS + 40)


def test_an_administrator_of_everything_sees_that_all_runs() -> None:
    text = index(make_superuser(), page="/admin/maintenance/")

    assert (
        "后台进程 beat（定时器） 1 个在运行 队列 urgent 1 个在运行 队列 celery 1 个在运行 队列 data 1 个在运行" in text
    )
    assert "队列 charts 未启用：需要图片和文件时启动 charts 的 worker" in text
    assert "队列 snapshots 未启用：需要 BI 页面截图时启动 snapshots 的 worker" in text
    assert f"逾期未执行 0 最近一次备份 从未 版本 {VERSION}" in text
    assert COMMAND not in text
    assert "邮件入口" not in text

    installation.load_installation()
    Installation.objects.update(backed_up_at=timezone.now() - timedelta(hours=3, minutes=1))
    heard(Heartbeat.Kind.MAIL, "host:3")
    text = index(make_superuser(), page="/admin/maintenance/")
    assert "最近一次备份 3 小时前" in text
    assert "邮件入口 1 个在运行" in text


@pytest.mark.parametrize(
    ("language", "what"),
    [
        ("zh-hans", r"beat 没有运行：定时推送和预警都不会开始。 最后一次心跳在 \d+ 秒前。"),
        ("en", r"Beat is not running: nothing that is scheduled begins\. The last heartbeat was \d+ seconds ago\."),
    ],
)
def test_and_what_does_not_with_the_command_that_mends_it(language: str, what: str) -> None:
    kill_beat()

    text = index(make_superuser(), language, "/admin/maintenance/")
    overview = index(make_superuser(), "zh-hans")

    assert re.search(what, text)
    assert COMMAND in text
    assert "后台进程 失败 推送已停止或延迟：后台进程需要处理。 运行状态" in overview
    assert "beat" not in overview


def test_an_administrator_of_one_company_is_told_that_pushes_stand_still_and_whom_to_tell() -> None:
    manager = make_manager(make_corp())
    assert "后台进程" not in index(manager)
    kill_beat()

    text = index(manager)

    assert "后台进程 失败 推送已停止：有后台进程没有运行，请联系系统管理员。" in text
    assert "beat" not in text
    assert "后台进程" not in index(make_manager(make_corp(), permissions="nothing"))


def test_superusers_alone_get_the_file_for_support_after_their_password(client: Client) -> None:
    manager = make_manager(make_corp())
    client.force_login(manager)
    assert client.get("/admin/maintenance/").status_code == 403
    join(manager, "user_permissions", Permission.objects.filter(codename="view_siteaddress"))
    page = client.get("/admin/maintenance/").content.decode()
    assert "所有进程都在运行" in page
    assert "/admin/maintenance/support/" not in page
    client.force_login(make_superuser())
    with override_settings(CONFIRMATION_MINUTES=0):
        answer = client.post("/admin/maintenance/support/", headers={"accept-language": "en"})
    assert "Is it you?" in answer.content.decode()

    answer = client.post("/admin/maintenance/support/")

    assert "about.json" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
