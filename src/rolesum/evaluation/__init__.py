"""Evaluate systems: predictions, scores, checks, comparisons, baselines, judges, annotation and reports."""

from rolesum.metrics.scorers import SCORERS, Score, Scorer, score

__all__ = ["SCORERS", "Score", "Scorer", "score"]
