"""compose.yaml and the Dockerfile as Docker reads them, and what every container must have."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guanwecom import environment
from tests.deploy.commands import UNITS, compose, composed, of_units
from tests.programs import needs, run_program

OURS = (*UNITS, "web-2", "migrate", "backup")


@pytest.fixture
def folder(project_root: Path, tmp_path: Path) -> Path:
    """A copy of compose.yaml beside a new .env."""
    shutil.copy(project_root / "compose.yaml", tmp_path)
    options = ["--file", str(tmp_path / ".env"), "--compose", "--site", "https://bi.example.com"]
    subprocess.run([project_root / ".venv/bin/python", project_root / "manage.py", "init_env", *options], check=True)
    return tmp_path


@needs("docker-compose")
def test_docker_compose_reads_it_and_says_what_to_do_without_a_new_env(folder: Path) -> None:
    env = {"PATH": os.environ["PATH"]}
    done = run_program(["docker-compose", "--profile", "*", "config", "--services"], cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {*OURS, "postgres", "valkey", "nginx"}
    (folder / ".env").write_text("SECRET_KEY=mine\n")
    refused = run_program(["docker-compose", "config"], cwd=folder, env=env)
    assert refused.returncode != 0
    assert "run manage.py init_env --compose first" in refused.stderr


@pytest.mark.parametrize("name", OURS)
def test_our_containers_write_nothing_and_may_nothing(project_root: Path, name: str) -> None:
    service = compose(project_root)["services"][name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108  # of the container
    assert service["cap_drop"] == ["ALL"]
    filters = ["seccomp:unconfined"] if name == "worker-snapshots" else []  # Chromium has a sandbox of its own
    assert service["security_opt"] == ["no-new-privileges:true", *filters]
    assert "healthcheck" in service
    assert "user" not in service  # the Dockerfile sets the user


def test_podman_reads_the_same_health_checks(project_root: Path) -> None:
    """Avoid CMD with spaces, which Podman's Docker interface splits; CMD-SHELL is safe."""
    checks = {name: one.get("healthcheck", {}).get("test") for name, one in compose(project_root)["services"].items()}

    assert [name for name, test in checks.items() if test and test[0] == "CMD" and " " in "".join(test)] == []
    for name in ("web-1", "mail-door"):
        assert checks[name][0] == "CMD-SHELL"
        program, _option, code = shlex.split(checks[name][1])
        compile(code, program, "exec")


def test_what_three_services_need_and_no_other(project_root: Path) -> None:
    services = compose(project_root)["services"]

    # PostgreSQL's image fills a new volume with a server on its socket alone, which migrate could not reach.
    check = services["postgres"]["healthcheck"]["test"]
    assert check == ["CMD", "pg_isready", "--host", "127.0.0.1", "--username", "guanwecom"]
    # Without this right, root in nginx's container cannot read a key that only its owner may read.
    assert "DAC_OVERRIDE" in services["nginx"]["cap_add"]
    assert services["nginx"]["read_only"] is True
    assert all(volume.endswith(":ro") for volume in services["nginx"]["volumes"])
    # Where Docker hides a person's address, nginx sees the network's gateway, which must not be trusted.
    nginx = services["nginx"]["networks"]["default"]["ipv4_address"]
    programs = composed(project_root).values()
    assert {command.environment["TRUSTED_PROXIES"] for command in programs if command.words[0] == "gunicorn"} == {nginx}
    addresses = [services[name]["networks"]["default"]["ipv4_address"] for name in ("web-1", "web-2")]
    upstream = (project_root / "deploy/nginx/upstream-compose.conf").read_text(encoding="utf-8")
    script = (project_root / "deploy/compose/restart-web.sh").read_text(encoding="utf-8")
    assert addresses == ["172.31.250.11", "172.31.250.12"]
    assert all(f"server {address}:8000;" in upstream for address in addresses)
    assert 'address="172.31.250.1$number:8000"' in script


def test_every_variable_that_it_sets_is_a_setting(project_root: Path) -> None:
    names = {name for command in composed(project_root).values() for name in command.environment}

    assert names - environment.read_names == set()
    assert "TRUSTED_PROXIES" in names


def test_containers_and_units_run_the_same_programs(project_root: Path) -> None:
    containers, units = composed(project_root), of_units(project_root)

    for name in UNITS:
        words = containers[name].words
        if name == "web-1":  # two containers of two processes are two units of one; systemd gives the address
            words = ["gunicorn", "guanwecom.wsgi", "--workers", "1", *words[words.index("--threads") :]]
        assert units[name].words == words, name


def test_every_queue_has_a_worker(project_root: Path) -> None:
    workers = [command.words for name, command in composed(project_root).items() if name.startswith("worker")]
    queues = {queue for words in workers for queue in words[words.index("-Q") + 1].split(",")}

    assert queues == {"urgent", "celery", "data", "charts", "snapshots"}


def test_the_image_has_what_builds_its_guides(project_root: Path, tmp_path: Path) -> None:
    """Catch files that .dockerignore does not name, because it excludes all others."""
    named = re.findall(r"^!(.+)$", (project_root / ".dockerignore").read_text(), re.MULTILINE)
    for name in named:
        for path in project_root.glob(name) if not name.startswith((".git", "docs")) else ():
            target = tmp_path / path.relative_to(project_root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target)
            else:
                shutil.copy(path, target)

    command = [sys.executable, "-c", "import tools.guides.__main__, manage"]
    done = run_program(command, cwd=tmp_path, env={"PATH": os.environ["PATH"]})

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("language", ["en", "zh-cn"])
def test_the_guides_give_the_same_commands(project_root: Path, language: str) -> None:
    commands = {name: " ".join(command.words) for name, command in composed(project_root).items()}
    guides = project_root / "docs" / language

    installing = (guides / "install.md").read_text(encoding="utf-8")
    assert f"\n.venv/bin/{commands['worker-charts']}\n" in installing
    assert f"\n.venv/bin/{commands['beat']}\n" in installing
    assert commands["worker-charts"] in (guides / "charts.md").read_text(encoding="utf-8")
    assert commands["worker-snapshots"] in (guides / "page-pictures.md").read_text(encoding="utf-8")
