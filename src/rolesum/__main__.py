"""`python -m rolesum`, as torchrun starts it."""

from rolesum.cli.main import run

if __name__ == "__main__":  # processes that the command starts may import its main module
    run()
