"""A person at a terminal who answers a program's questions."""

import os
import pty
import select
from contextlib import suppress
from pathlib import Path

PATIENCE_SECONDS = 180


def answer(command: list[str], answers: list[tuple[str, str]], *, folder: Path = Path("/")) -> str:
    """Run a program at a terminal and give each answer once the words before it appear. Return the program's output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvp(command[0], command)  # noqa: S606  # no shell is wanted
    said, answered = "", 0
    with suppress(OSError):  # the terminal is gone with the program
        while select.select([terminal], [], [], PATIENCE_SECONDS)[0] and (more := os.read(terminal, 1000)):
            said += more.decode(errors="replace")
            if answers and answers[0][0] in said[answered:]:
                answered = len(said)
                (_words, text), *answers = answers
                os.write(terminal, f"{text}\n".encode())
    os.close(terminal)  # ends a program that still waits for an answer
    assert (os.waitpid(pid, 0)[1], answers) == (0, []), said
    return said
