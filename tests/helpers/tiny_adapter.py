"""A tiny trained adapter, and a package folder that has it in the place of the adapters that come with rolesum."""

import functools
import shutil

from helpers.small_runs import recipe, trained
from helpers.tiny import folder
from rolesum.models import bundled_adapters


@functools.cache
def tiny_adapter():
    """The adapter of a short run for overall, user and agent; tests leave it as it is."""
    chosen = recipe(roles=["overall", "user", "agent"])
    return trained(folder() / "plain-run", chosen).adapter


def ship_tiny_adapter(monkeypatch, path):
    """Put the tiny adapter in the place of every bundled adapter, by a folder of them at `path`."""
    for name in bundled_adapters.bundled_adapters():
        shutil.copytree(tiny_adapter(), path / name.removeprefix("rolesum-"))
    monkeypatch.setattr(bundled_adapters, "_FOLDER", path)
