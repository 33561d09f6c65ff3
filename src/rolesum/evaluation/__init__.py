"""Evaluation: named scorers, intervals, predictions and results, the report page."""

from rolesum.metrics.scorers import SCORERS, Score, Scorer, score

__all__ = ["SCORERS", "Score", "Scorer", "score"]
