"""Baselines: engines that choose turns of the dialogue and copy them, without a model.

They stand where any engine stands, so that a system's figures can be read beside the first turns, the longest, the
most central, and the best that copying can reach. docs/baselines.md says each one's source and what it scores.
"""

from rolesum.evaluation.baselines.engine import BASELINES, BaselineEngine, baseline_engine

__all__ = ["BASELINES", "BaselineEngine", "baseline_engine"]
