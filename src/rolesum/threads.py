"""How many threads torch computes with on a CPU, and how they wait for one another.

Both are environment variables that torch's OpenMP runtime reads when torch is imported, so that they are set before.
What the user has set stays.
"""

import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from rolesum.errors import UsageError

VARIABLE = "ROLESUM_THREADS"
_CGROUPS = Path("/sys/fs/cgroup")
# Rounds of a waiting loop before a thread sleeps, some tens of microseconds; 300,000 or more by default. Where another
# program has the core, threads that wait in a loop take the time of those that they wait for: two `rolesum summarize`
# on two cores took 4 times as long as one, and take twice as long with this.
_SPINS = "10000"


@dataclass(frozen=True, slots=True)
class ThreadChoice:
    """How many threads torch is to compute with, and why, as a clause; None leaves it to torch."""

    count: int | None
    reason: str


def prepare_threads(environment: MutableMapping[str, str] = os.environ, cgroups: Path = _CGROUPS) -> ThreadChoice:
    """Set the number of threads to ROLESUM_THREADS, or to the processors that the container may use, if fewer.

    Without either, torch takes one for each physical core. Raises UsageError where ROLESUM_THREADS is no count.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
    choice = _choose_threads(environment, cgroups)
    if choice.count is not None and environment.get(VARIABLE):
        set_threads(choice.count, environment)
    elif choice.count is not None:
        environment.setdefault("OMP_NUM_THREADS", str(choice.count))
    return choice


def _choose_threads(environment: MutableMapping[str, str], cgroups: Path) -> ThreadChoice:
    if asked := environment.get(VARIABLE):
        if not asked.isdecimal() or not int(asked):
            raise UsageError(f"{VARIABLE} is {asked!r}", fix="set it to a number of threads, such as 2")
        return ThreadChoice(int(asked), f"{VARIABLE} is set")
    if "OMP_NUM_THREADS" in environment:
        return ThreadChoice(None, "OMP_NUM_THREADS is set")
    allowed, processors = _quota(cgroups), os.cpu_count() or 1
    if allowed is not None and ceil(allowed) < processors:
        return ThreadChoice(ceil(allowed), f"the container may use {allowed:g} of {processors} processors")
    return ThreadChoice(None, "one for each physical core")


def set_threads(count: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Let torch compute with this many threads, whether it is imported already or not."""
    environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def _quota(cgroups: Path) -> float | None:
    """The processors that the container's share of time comes to; None where it has no limit."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return share if share > 0 else None
