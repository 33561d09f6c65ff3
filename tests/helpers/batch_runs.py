"""Bulk runs without a model. Imports no torch, which every worker of Ray would import too."""

from helpers.echo_engine import EchoEngine, HeldEchoEngine, SlowEchoEngine, UnreachableEngine
from rolesum.batch import run_batch
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig


def echo(config):
    return Summarizer(config, EchoEngine())


def slow(pids, seconds, config):
    return Summarizer(config, SlowEchoEngine(pids, seconds))


def held(notes, config):
    return Summarizer(config, HeldEchoEngine(notes))


def unreachable(config):
    return Summarizer(config, UnreachableEngine())


def run(given, out, config=None, shard_size=4, open_summarizer=echo, **options):
    given = given if isinstance(given, list) else [given]
    config = config or SummarizerConfig(verify="off")  # the engines of these tests verify nothing
    return run_batch(
        list(map(str, given)), out, config, shard_size=shard_size, open_summarizer=open_summarizer, **options
    )
