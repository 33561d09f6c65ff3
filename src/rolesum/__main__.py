"""`python -m rolesum`, as torchrun starts it."""

from rolesum.cli.main import run

run()
