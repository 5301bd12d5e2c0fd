"""`python -m guanwecom worker …` and `python -m guanwecom beat …`: Celery's commands of these names, and no others.

`celery -A guanwecom` does the same, but also loads what an interactive shell needs, 8 MB in each process, and lets
workers tell each other every two seconds that they live, which nobody here reads: ours write it into the database.
"""

import sys

import click
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from guanwecom.celery import app

# Options of Celery's worker that are on here.
WORKER = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


@click.group(context_settings={"default_map": {"worker": WORKER}})
@click.pass_context
def program(context: click.Context) -> None:
    context.obj = CLIContext(app=app, no_color=False, workdir=None)


program.add_command(worker)
program.add_command(beat)

if __name__ == "__main__":
    words = sys.argv[1:]
    # With these a worker starts itself anew after SIGHUP. By the path of this file it would find our celery.py in the
    # place of Celery.
    sys.argv[:1] = ["-m", "guanwecom"]
    program(words, prog_name="python -m guanwecom")
