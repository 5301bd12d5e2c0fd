"""Movable clocks of single programs, as if each ran on its own host. The machine's clock stays right.

A library that is loaded before the C library (LD_PRELOAD) changes what the kernel says. The time that has passed for
all programs is added to the time of day and to the clock that counts sleep (CLOCK_BOOTTIME). The error of one host
is added to the time of day only. The monotonic clock stands still in sleep, so nothing is added to it; libfaketime
would move it too, which no sleeping machine does.
"""

import struct
import subprocess
import threading
from collections import Counter
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

static volatile double *world, *own;

static volatile double *seconds_in(const char *path) {
    int file = path ? open(path, O_RDONLY) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(0, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    return found == MAP_FAILED ? 0 : found;
}

__attribute__((constructor)) static void begin(void) {
    world = seconds_in(getenv("CHAOS_WORLD"));
    own = seconds_in(getenv("CHAOS_CLOCK"));
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (failed || !world || !own) return failed;
    int is_real = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (is_real || clock == CLOCK_BOOTTIME) time->tv_sec += (time_t)*world;
    if (is_real) time->tv_sec += (time_t)*own;
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


WORLD = "world"


class Clocks:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clocks.so"
        if not self._library.exists():
            source = folder / "clocks.c"
            source.write_text(SOURCE, encoding="utf-8")
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)], check=True)
        self._seconds: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.move(WORLD, 0)

    def command(self, name: str) -> list[str]:
        """Return the beginning of a program's command that gives it the clock `name`."""
        self.move(name, 0)
        paths = [f"CHAOS_WORLD={self._path(WORLD)}", f"CHAOS_CLOCK={self._path(name)}"]
        return ["env", f"LD_PRELOAD={self._library}", *paths]

    def pass_time(self, seconds: int) -> None:
        """Let `seconds` pass for all programs at the same moment."""
        self.move(WORLD, seconds)

    def move(self, name: str, seconds: int) -> None:
        with self._lock:
            self._seconds[name] += seconds
            path = self._path(name)
            with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
                file.write(struct.pack("d", self._seconds[name]))

    def set_right(self) -> None:
        for name in self._seconds.keys() - {WORLD}:
            self.move(name, -self._seconds[name])

    def _path(self, name: str) -> Path:
        return self._folder / f"clock-{name}"
