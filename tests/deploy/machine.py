"""A machine for tests: an empty Debian by debootstrap, with systemd, in namespaces without a network."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.terminal import answer

PACKAGES = (
    *("systemd-sysv", "dbus", "iproute2", "curl", "python3", "python3-venv", "postgresql", "valkey-server"),
    *("nginx-light", "openssl"),
)
NEEDED = ("debootstrap", "unshare", "nsenter", "pivot_root")
# The first process of the new namespaces: it mounts /proc, /sys, /dev and cgroups, then starts systemd.
BOOT = """
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
mkdir dev/pts dev/shm old
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . old
umount -l old
export container=a-test
exec /lib/systemd/systemd --log-target=console
"""


@dataclass(frozen=True)
class Machine:
    """A running machine. `pid` is that of its systemd, as this machine numbers it."""

    pid: int
    root: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wdns=/"]
        env = ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        done = subprocess.run([*enter, *env, *command], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def type(self, block: str, *, folder: str = "/root") -> str:
        """Run lines of a guide in a shell of root, which ends with the first that fails."""
        return self.run("sh", "-euc", f"cd {folder}\n{block}").stdout

    def answer(self, command: str, answers: list[tuple[str, str]]) -> str:
        """Run a command at a terminal of root, as tests.deploy.terminal does."""
        enter = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wdns=/", "env", "-i"]
        env = ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin", "LANG=C.UTF-8"]
        return answer([*enter, *env, *command.split()], answers)

    def start(self, *command: str) -> subprocess.Popen[str]:
        enter = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wdns=/", *command]
        return subprocess.Popen(enter, stdout=subprocess.PIPE, text=True)


def make_debian(folder: Path) -> Path:
    """Make the root of machines, with packages from this machine's source. DEBIAN_ROOT names an existing one."""
    if "DEBIAN_ROOT" in os.environ:
        return Path(os.environ["DEBIAN_ROOT"])
    make = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "trixie", str(folder / "debian")]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    return folder / "debian"


@contextmanager
def booted(debian: Path, folder: Path) -> Iterator[Machine]:
    root = folder / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", str(debian), str(root)], check=True)
    kinds = ["--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc", "--cgroup"]
    with (folder / "console.log").open("wb") as console:
        outer = subprocess.Popen(
            ["unshare", *kinds, "sh", "-c", BOOT, "boot", str(root)], stdout=console, stderr=subprocess.STDOUT
        )
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        while not (pids := children.read_text().split()):
            assert outer.poll() is None, (folder / "console.log").read_text()
        yield Machine(int(pids[0]), root)
    finally:
        outer.kill()  # this ends everything in its namespaces
        outer.wait()
        shutil.rmtree(root, ignore_errors=True)
