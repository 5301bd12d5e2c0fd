"""Clocks of single programs that can be moved, while the machine's stay right: as if each ran on a host of its own.

A library that is loaded before the C library's (LD_PRELOAD) adds to what the kernel says: `real` to the time of day,
`boot` to the clock that counts sleep (CLOCK_BOOTTIME). The monotonic clock stands still in sleep, so nothing is added
to it. libfaketime would move both of the latter together, which no sleeping machine does.
"""

from __future__ import annotations

import struct
import subprocess
from collections import defaultdict
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile double *shifts; /* real, boot */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0) return;
    void *found = mmap(0, 2 * sizeof(double), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) shifts = found;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (failed || !shifts) return failed;
    double shift = 0;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) shift = shifts[0];
    if (clock == CLOCK_BOOTTIME) shift = shifts[1];
    time->tv_sec += (time_t)shift;
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
"""


class Clocks:
    """The clocks of programs by their names, in whole seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clocks.so"
        source = folder / "clocks.c"
        source.write_text(SOURCE, encoding="utf-8")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)], check=True)
        self._shifts: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    def command(self, name: str) -> list[str]:
        """Return what begins the command of a program, so that its clocks are those of `name`."""
        if not self._path(name).exists():
            self._write(name)
        return ["env", f"LD_PRELOAD={self._library}", f"CHAOS_CLOCK={self._path(name)}"]

    def move(self, name: str, seconds: float, *, boot: float = 0) -> None:
        """Move the time of day, and the clock that counts sleep."""
        real, slept = self._shifts[name]
        self._shifts[name] = (real + round(seconds), slept + round(boot))
        self._write(name)

    def _path(self, name: str) -> Path:
        return self._folder / f"clock-{name}"

    def _write(self, name: str) -> None:
        with self._path(name).open("r+b" if self._path(name).exists() else "w+b", buffering=0) as file:
            file.write(struct.pack("dd", *self._shifts[name]))
