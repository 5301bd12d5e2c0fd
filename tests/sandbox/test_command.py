"""The program wecom-sandbox: its start, names and authority, its wheel, its fixtures, and what its guides say."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from wecom_sandbox import __version__
from wecom_sandbox.http.hosts import WECOM_HOSTS, Authority, check_host_name, is_loopback
from wecom_sandbox.limits.limits import FAULT_KINDS
from wecom_sandbox.settings import Settings

from tests.programs import needs, run_program
from tests.sandbox_process import AGENTID, CORPID, ROOT, SECRET, SandboxHandle, company, start_sandbox
from tools.services import free_port

COMMAND = [sys.executable, "-m", "wecom_sandbox"]


def run(*arguments: str, environment: str | None = "test", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end. `environment` is the variable ENVIRONMENT; None leaves it out."""
    others = {name: value for name, value in os.environ.items() if name != "ENVIRONMENT"}
    env = others | ({} if environment is None else {"ENVIRONMENT": environment})
    return run_program([*COMMAND, *arguments], cwd=folder, env=env)


@contextmanager
def talking(folder: Path, number: signal.Signals, *arguments: str) -> Iterator[list[str]]:
    """Run the command. Yield its first lines; after the block its complaints at the end are appended."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    # Without a seed, one more line names the example.
    said = [process.stdout.readline().strip() for _ in range(5 if "--seed" in arguments else 6)]
    yield said
    process.send_signal(number)
    said.append(process.communicate(timeout=60)[1])
    assert process.returncode == 0


def status(url: str, host: str, **options: Any) -> int:
    """Return the status of the health call with this Host header."""
    headers = {"Host": host}
    return requests.get(f"{url}/sandbox/api/health", headers=headers, timeout=60, **options).status_code


@pytest.mark.parametrize(
    ("environment", "line"),
    [("production", ""), (None, "ENVIRONMENT=production"), (None, 'export ENVIRONMENT = "production"  # the site')],
)
def test_production_refuses_it(tmp_path: Path, environment: str | None, line: str) -> None:
    """Read the environment, else the folder's .env."""
    (tmp_path / ".env").write_text(f"SECRET_KEY=x\n{line}\nDEBUG=\n", encoding="utf-8")

    result = run("--port", "0", environment=environment, folder=tmp_path)

    assert (result.returncode, "does not start in production" in result.stderr) == (1, True)
    if line:
        with start_sandbox(folder=tmp_path) as handle:  # with ENVIRONMENT=test
            assert handle.control("GET", "health")["sandbox"] is True


def test_it_says_what_is_where_and_has_an_example(tmp_path: Path) -> None:
    with talking(tmp_path, signal.SIGTERM) as said:
        url = said[0].split()[-1].rstrip("/")
        pages = {page: requests.get(f"{url}/{page}", timeout=60) for page in ("phone", "console", "console/wwsandbox")}

    assert [line.split() for line in said[:-1]] == [
        ["WeCom", "sandbox", "on", f"{url}/"],
        ["phone", f"{url}/phone"],
        ["console", f"{url}/console"],
        ["API", f"{url}/cgi-bin/"],
        ["control", f"{url}/sandbox/api/"],
        ["try", "corpid=wwsandbox", "corpsecret=app-secret", "agentid=1000002"],
    ]
    assert said[-1] == ""
    assert [page.status_code for page in pages.values()] == [200, 200, 200]
    assert [("李雷" in pages["phone"].text), ("示例公司" in pages["console"].text)] == [True, True]
    assert "示例应用" in pages["console/wwsandbox"].text
    assert run("--version").stdout == f"wecom-sandbox {__version__}\n"


def test_a_seed_with_unchecked_addresses_is_told(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    apps = [
        {"agentid": 1, "name": "一", "secret": "s1"},
        {"agentid": 2, "name": "二", "secret": "s2", "trusted_ips": []},
        {"agentid": 3, "name": "三", "secret": "s3", "trusted_ips": None},
    ]
    seed.write_text(json.dumps({"companies": [company(apps=apps)]}), encoding="utf-8")

    with talking(ROOT, signal.SIGINT, "--seed", str(seed)) as said:
        pass

    assert said[-1] == (
        f"{CORPID}: no trusted_ips for app 1, 3, so callers' addresses are not checked; "
        "WeCom answers 60020 to every address that is not listed (setting trusted_ips_required)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--host", "example.com"), "example.com is not a loopback address"),
        (("--seed", "FILE"), "company:"),
        (("--snapshot", "FILE"), "company:"),
        (("--allow-host", "http://my-box/"), "http://my-box/ is not the name of a host (without scheme and port)\n"),
        (("--tls-port", "TAKEN"), "address already in use"),
    ],
)
def test_why_it_does_not_start_is_told(tmp_path: Path, arguments: tuple[str, str], complaint: str) -> None:
    file = tmp_path / "seed.json"
    file.write_text('{"companies": [{"corpid": "ww1"}]}', encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {"FILE": str(file), "TAKEN": str(taken.getsockname()[1])}
        result = run("--port", "0", arguments[0], given.get(arguments[1], arguments[1]))

    assert (result.returncode, result.stdout, complaint in result.stderr) == (1, "", True), result.stderr
    assert file.read_text(encoding="utf-8") == '{"companies": [{"corpid": "ww1"}]}'


@pytest.mark.parametrize("name", ["", "http://my-box", "my-box:80", "my box", "a..b", "-a", "a" * 64])
def test_it_listens_on_this_machine_only_and_lets_in_names_of_hosts(name: str) -> None:
    assert not any(is_loopback(host) for host in ("0.0.0.0", "192.0.2.1", "example.com", "::"))  # noqa: S104  # not bound
    with pytest.raises(ValueError, match="is not the name of a host"):
        check_host_name(name)


def test_a_snapshot_is_for_its_owner_replaced_whole_and_read_at_the_start(tmp_path: Path) -> None:
    """Write through a link to its target. A second name of the old file shows that it was replaced, not overwritten."""
    folder, link = tmp_path / "data", tmp_path / "link.json"
    folder.mkdir()
    snapshot = folder / "state.json"
    snapshot.write_text('{"companies": []}', encoding="utf-8")
    snapshot.chmod(0o644)
    os.link(snapshot, folder / "old.json")
    link.symlink_to(snapshot)

    with start_sandbox(arguments=("--snapshot", str(link))) as handle:
        handle.load({"companies": [company()]})
        handle.control("DELETE", f"companies/{CORPID}/members/jim")

    assert (link.is_symlink(), stat.S_IMODE(snapshot.stat().st_mode)) == (True, 0o600)
    assert (folder / "old.json").read_text(encoding="utf-8") == '{"companies": []}'
    assert sorted(path.name for path in folder.iterdir()) == ["old.json", "state.json"]
    with start_sandbox(arguments=("--snapshot", str(link))) as handle:
        members = handle.control("GET", f"companies/{CORPID}")["members"]
        assert [one["userid"] for one in members] == ["LiLei", "hanmeimei"]


def test_a_snapshot_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """Simulate a full disk: the process may write only a hundred bytes to a file."""
    snapshot = tmp_path / "state.json"
    snapshot.write_text('{"companies": []}', encoding="utf-8")

    with start_sandbox(arguments=("--snapshot", str(snapshot))) as handle:
        handle.load({"companies": [company()]})
        resource.prlimit(handle.pid, resource.RLIMIT_FSIZE, (100, 100))

    assert snapshot.read_text(encoding="utf-8") == '{"companies": []}'
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_the_documentation_names_every_setting_and_fault_and_its_seed_loads() -> None:
    text = (ROOT / "docs" / "en" / "sandbox.md").read_text(encoding="utf-8")
    seed = json.loads(text.split("```json\n", 1)[1].split("```", 1)[0])

    assert [name for name in (*Settings.__slots__, *FAULT_KINDS) if f"`{name}`" not in text] == []
    with start_sandbox(seed=seed) as handle:
        assert [one["name"] for one in handle.control("GET", "companies")["companies"]] == ["北山制造"]


def test_only_loopback_names_answer_and_by_tls_those_of_wecom(
    sandbox: SandboxHandle, tls_port: int, ca_file: Path
) -> None:
    plain = ["localhost", "127.0.0.1:3002", "[::1]", "[::1]:3002", WECOM_HOSTS[0], "127.0.0.1.example.com", "my-box"]
    assert [status(sandbox.base_url, host) for host in plain] == [200] * 4 + [421] * 3

    hosts = ["localhost", "127.0.0.1", f"[::1]:{tls_port}", "QYAPI.weixin.qq.com", *WECOM_HOSTS, "evil.example.com"]
    found = [status(f"https://localhost:{tls_port}", host, verify=str(ca_file)) for host in hosts]
    assert found == [200] * (len(hosts) - 1) + [421]
    printed = run("ca", "--port", sandbox.base_url.rpartition(":")[2])
    assert (printed.returncode, printed.stdout) == (0, ca_file.read_text(encoding="utf-8"))


def test_other_names_are_let_in_on_request_and_a_kept_authority_is_used(tmp_path: Path) -> None:
    """Listen everywhere, as in a container. The authority is printed from the folder and from the running sandbox."""
    kept = run("ca", "--ca-folder", str(tmp_path), "--allow-host", "my-box", "--allow-host", "192.0.2.7")
    arguments = ("--host", "0.0.0.0", "--allow-host", "My-Box", "--allow-host", "192.0.2.7")  # noqa: S104  # asked for
    with start_sandbox(arguments=(*arguments, "--tls-port", str(free_port()), "--ca-folder", str(tmp_path))) as handle:
        hosts = ["my-box", "192.0.2.7:3002", "localhost", "other-box"]
        assert [status(handle.base_url, host) for host in hosts] == [200, 200, 200, 421]
        told = handle.control("GET", "ca")
        printed = run("ca", "--host", "0.0.0.0", "--port", handle.base_url.rpartition(":")[2])  # noqa: S104  # as above

    assert kept.stdout == printed.stdout == told["certificate"] == (tmp_path / "ca.pem").read_text(encoding="utf-8")
    assert told["hosts"] == [*WECOM_HOSTS, "localhost", "127.0.0.1", "::1", "my-box", "192.0.2.7"]


def test_its_image_answers_to_its_names_and_has_no_authority_to_print() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "sandbox" / "Dockerfile").read_text(encoding="utf-8"), re.M)
    name, *arguments = json.loads(entry)

    with start_sandbox(arguments=tuple(arguments)) as handle:
        hosts = ("wecom:3002", "127.0.0.1:3002", "localhost", "evil.example")
        assert [status(handle.base_url, host) for host in hosts] == [200, 200, 200, 421]
        refused = run("ca", "--port", handle.base_url.rpartition(":")[2])

    assert (name, handle.url.rpartition(":")[0]) == ("wecom-sandbox", "http://127.0.0.1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "HTTP Error 404: Not Found. Is the sandbox running there, with --tls-port?" in refused.stderr


def test_many_connect_while_it_is_at_something_else() -> None:
    """Stop the process: the system accepts connections, and resets some of those it cannot keep."""
    with start_sandbox() as handle, ExitStack() as clients:
        address = ("127.0.0.1", int(handle.url.rpartition(":")[2]))
        os.kill(handle.pid, signal.SIGSTOP)
        clients.callback(os.kill, handle.pid, signal.SIGCONT)
        for _ in range(1000):
            clients.enter_context(socket.create_connection(address, timeout=20))

        os.kill(handle.pid, signal.SIGCONT)
        assert handle.control("GET", "health")["sandbox"] is True


DISTRIBUTION = ROOT / "sandbox"
PACKAGE = DISTRIBUTION / "wecom_sandbox"
READMES = {"README.md": "Hello from my app", "README.zh-CN.md": "来自应用的问候"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the committed files, without compiled catalogues."""
    folder = tmp_path_factory.mktemp("distribution")
    unwanted = shutil.ignore_patterns("*.mo", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(DISTRIBUTION, folder / "source", ignore=unwanted)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "source"], check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_everything_that_runs_and_says_what_it_is(wheel: Path) -> None:
    wanted = {
        str(path.relative_to(DISTRIBUTION))
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".po", ".mo", ".pyc")
    }
    wanted |= {str(path.relative_to(DISTRIBUTION).with_suffix(".mo")) for path in PACKAGE.rglob("*.po")}

    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        catalogue = archive.read("wecom_sandbox/locale/zh_Hans/LC_MESSAGES/messages.mo")

        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        licence = archive.read(name.replace("METADATA", "licenses/LICENSE")).decode()

    assert found == wanted
    assert "工作台".encode() in catalogue
    assert metadata["Name"] == "wecom-sandbox"
    assert metadata.get_all("Requires-Dist") == ["aiohttp", "cryptography", "defusedxml", "jinja2"]
    assert (metadata["License-Expression"], licence) == ("MIT", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    assert str(metadata.get_payload()).startswith("# wecom-sandbox\n")


def commands(readme: str) -> tuple[list[str], str]:
    """Return the commands of a README: the installation and the start, and the message."""
    text = (DISTRIBUTION / readme).read_text(encoding="utf-8")
    first, message = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return first.splitlines(), message


@needs("curl")
@pytest.mark.parametrize(("readme", "text"), READMES.items())
def test_the_first_message_as_the_readme_says(readme: str, text: str, tmp_path: Path) -> None:
    (_install, start), message = commands(readme)
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        ["sh", "-c", f"exec {start} --port 0"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1].rstrip("/")
        typed = message.replace("http://127.0.0.1:3002", url)
        sent = subprocess.run(["sh", "-c", typed], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        assert '"errcode":0' in sent.stdout
        shown = requests.get(f"{url}/sandbox/api/companies/wwsandbox/members/lilei/messages", timeout=60).json()
        assert "李雷" in requests.get(f"{url}/phone", timeout=60).text
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert [one["text"]["content"] for one in shown["messages"]] == [text]


@pytest.mark.parametrize("document", [*READMES, "../docs/en/sandbox.md", "../docs/zh-cn/sandbox.md"])
def test_the_guide_begins_as_the_readme_and_its_lines_of_services_are_yaml(document: str) -> None:
    text = (DISTRIBUTION / document).read_text(encoding="utf-8")
    github, gitlab = (yaml.safe_load(line)["services"] for line in re.findall(r"`(services: .*?)`", text))

    assert text.split("```sh\n", 1)[1].split("```", 1)[0].splitlines() == commands("README.md")[0]
    assert github == {"wecom": {"image": "REGISTRY/wecom-sandbox", "ports": ["3002:3002"]}}
    assert gitlab == [{"name": "REGISTRY/wecom-sandbox", "alias": "wecom"}]


PROJECT = '''
import json
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from wecom_sandbox.testing import ControlError, Sandbox, read_example_seed


def call(sandbox: Sandbox, path: str, document: object = None, **query: str) -> dict:
    body = None if document is None else json.dumps(document).encode()
    with urlopen(f"{sandbox.url}/cgi-bin/{path}?{urlencode(query)}", body) as answer:
        return json.load(answer)


def send(sandbox: Sandbox, text: str) -> dict:
    """What the program under test does."""
    [app] = sandbox.company()["apps"]
    token = call(sandbox, "gettoken", corpid="wwsandbox", corpsecret=app["secret"])["access_token"]
    message = {"touser": "lilei", "agentid": app["agentid"], "msgtype": "text", "text": {"content": text}}
    return call(sandbox, "message/send", message, access_token=token)


def test_nothing_is_left_of_the_tests_before(wecom_sandbox: Sandbox) -> None:
    import time

    assert wecom_sandbox.person("lilei").messages() == []
    assert wecom_sandbox.calls() == []
    assert wecom_sandbox.control("GET", "faults")["faults"] == []
    assert wecom_sandbox.control("GET", "clock")["now"] < time.time() + 3600
    assert send(wecom_sandbox, "again")["errcode"] == 0


def test_people_act(wecom_sandbox: Sandbox) -> None:
    person = wecom_sandbox.person("lilei")
    assert person.authorize(redirect_uri="http://localhost:8000/back", state="s")["url"].endswith("&state=s")
    person.write(1000002, "hello")
    person.leave()
    with pytest.raises(ControlError, match="^404 .*lilei"):
        person.messages()


class TestAnotherCompany:
    @pytest.fixture
    def wecom_sandbox_seed(self) -> object:
        seed = read_example_seed()
        seed["companies"][0]["members"] = [{"userid": "ann", "name": "Ann", "department": [1]}]
        return seed

    def test_it_is_there(self, wecom_sandbox: Sandbox) -> None:
        assert [one["userid"] for one in wecom_sandbox.company()["members"]] == ["ann"]
'''


def run_pytest(folder: Path, *programs: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on programs, with nothing of this suite but its Python."""
    for number, program in enumerate(programs):
        (folder / f"test_program_{number}.py").write_text(program, encoding="utf-8")
    ours = ("PYTEST", "PYTHON", "DJANGO")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", "-W", "error"]
    return run_program(command, cwd=folder, env=variables | env)


def test_a_project_without_django_and_the_examples_of_the_guides_use_the_fixtures(tmp_path: Path) -> None:
    guides = [(ROOT / "docs" / language / "sandbox.md").read_text(encoding="utf-8") for language in ("en", "zh-cn")]
    examples = [guide.rsplit("```python\n", 1)[1].split("```", 1)[0] for guide in guides]

    done = run_pytest(tmp_path, PROJECT, *examples)

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("7 passed")


def test_a_sandbox_that_does_not_start_is_told(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test(wecom_sandbox): pass", ENVIRONMENT="production")

    assert done.returncode == 1
    assert "RuntimeError: the sandbox did not start: '', exit code 1" in done.stdout
    assert "does not start in production" in done.stdout


def shake_hands(server: ssl.SSLContext, trusted: str, host: str) -> None:
    """Connect a client that trusts the CA to the server as `host`. Raise ssl.SSLError if it refuses."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=trusted)
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        side = sides.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            sides.append(side)


@pytest.mark.parametrize("host", [*WECOM_HOSTS, "localhost", "127.0.0.1", "::1", "my-box"])
def test_the_certificate_is_for_every_name(host: str) -> None:
    authority = Authority.new(["my-box"])

    shake_hands(authority.server_context(), authority.pem, host)


def test_who_trusts_the_authority_trusts_it_for_no_other_name_and_no_other_authority() -> None:
    """Guard against a lost key: it cannot stand in for another site."""
    authority = Authority.new()
    stolen = replace(authority, names=("bank.example.com",))

    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(stolen.server_context(), authority.pem, "bank.example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Authority.new().server_context(), authority.pem, "localhost")


def test_a_kept_authority_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ca"
    first = Authority.load_or_create(folder)

    assert Authority.load_or_create(folder).pem == first.pem
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shake_hands(Authority.load_or_create(folder).server_context(), first.pem, "qyapi.weixin.qq.com")


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("ca-key.pem", "readable", r"ca-key\.pem can be read by others than its owner"),
        ("ca.pem", "broken", "cannot be read; delete both to get new ones"),
        ("ca-key.pem", "broken", "cannot be read; delete both to get new ones"),
        ("ca.pem", "foreign", "do not belong together"),
        ("", "", r"ca\.pem is not for my-box; delete it and ca-key\.pem"),
    ],
)
def test_a_kept_authority_that_is_not_usable_is_told(tmp_path: Path, name: str, change: str, complaint: str) -> None:
    Authority.load_or_create(tmp_path)
    if change == "readable":
        (tmp_path / name).chmod(0o640)
    elif change:
        (tmp_path / name).write_text(Authority.new().pem if change == "foreign" else "-----BEGIN NOTHING-----\n")

    with pytest.raises(ValueError, match=complaint):
        Authority.load_or_create(tmp_path, ["my-box"])


NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
PROGRAM = f"""
from wechatpy.enterprise import WeChatClient
client = WeChatClient({CORPID!r}, {SECRET!r}, timeout=60)
print(client.message.send_text({AGENTID}, ["lilei"], "hello")["errcode"])
"""


def recipe(language: str) -> str:
    """Return the guide's commands with sudo, for programs that look names up in /etc/hosts."""
    text = (ROOT / "docs" / language / "sandbox.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    return next(block for block in blocks if "/etc/hosts" in block)


def has_namespaces() -> bool:
    """Return whether this machine permits a network namespace with our own /etc/hosts, and has `ip` (Linux)."""
    tried = [*NAMESPACE, "ip", "link"]
    return shutil.which(tried[0]) is not None and not subprocess.run(tried, capture_output=True, check=False).returncode


def test_the_recipe_of_both_guides_works(tmp_path: Path) -> None:
    """Run the printed commands in a network and with an /etc/hosts that nobody else sees."""
    commands = [[line.partition(" #")[0] for line in recipe(language).splitlines()] for language in ("en", "zh-cn")]
    assert commands[0] == commands[1]
    if not has_namespaces():
        pytest.skip("this machine gives no namespaces or has no program ip: the recipe for /etc/hosts was not tried")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
    (tmp_path / "seed.json").write_text(json.dumps({"companies": [company()]}), encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    *preparation, start = recipe("en").splitlines()
    script = [
        'sudo() { "$@"; }',
        "ip link set lo up",
        "mount --bind hosts /etc/hosts",
        *preparation,
        f"{start} --seed seed.json > started &",
        "trap 'kill $!; wait' EXIT",
        "until grep -q TLS started; do sleep 0.1; done",
        "REQUESTS_CA_BUNDLE=~/.wecom-sandbox/ca.pem python program.py",
    ]
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ended = run_program([*NAMESPACE, "bash", "-e", "-c", "\n".join(script)], cwd=tmp_path, env=env)

    assert ended.stdout.splitlines()[-1] == "0", ended.stderr
    assert stat.S_IMODE((tmp_path / ".wecom-sandbox" / "ca-key.pem").stat().st_mode) == 0o600
