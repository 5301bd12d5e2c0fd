"""`python -m guanwecom worker …` and `python -m guanwecom beat …`: two of Celery's commands.

`celery -A guanwecom` does the same, but also loads what an interactive shell needs, 8 MB in each process, and makes
workers exchange events every two seconds, which nothing here reads: our heartbeats go to the database.
"""

import sys

import click
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from guanwecom.celery import app

# Defaults of `worker` that differ from Celery's.
WORKER_DEFAULTS = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


@click.group(context_settings={"default_map": {"worker": WORKER_DEFAULTS}})
@click.pass_context
def cli(context: click.Context) -> None:
    context.obj = CLIContext(app=app, no_color=False, workdir=None)


cli.add_command(worker)
cli.add_command(beat)

if __name__ == "__main__":
    arguments = sys.argv[1:]
    # After SIGHUP a worker restarts with these arguments. With this file's path as the first one, `import celery` would
    # find our celery.py.
    sys.argv[:1] = ["-m", "guanwecom"]
    cli(arguments, prog_name="python -m guanwecom")
