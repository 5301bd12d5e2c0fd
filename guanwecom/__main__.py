"""`python -m guanwecom worker …` and `python -m guanwecom beat …`: Celery's commands of these names, and no others.

`celery -A guanwecom` does the same. It also loads what an interactive shell needs, 8 MB in each process.
"""

import click
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from guanwecom.celery import app


@click.group()
@click.pass_context
def program(context: click.Context) -> None:
    context.obj = CLIContext(app=app, no_color=False, workdir=None)


program.add_command(worker)
program.add_command(beat)

if __name__ == "__main__":
    program(prog_name="python -m guanwecom")
