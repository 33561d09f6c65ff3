"""Extractive baselines: engines that copy turns of the dialogue, without a model.

They implement the Engine protocol, so a system's scores can be compared with those of the first turns, the longest,
the most central, and the best that copying can reach. docs/baselines.md has the source and scores of each.
"""

from rolesum.evaluation.baselines.engine import BASELINES, BaselineEngine, baseline_engine

__all__ = ["BASELINES", "BaselineEngine", "baseline_engine"]
