"""Metrics computed by a model of the user's choice: BERTScore, MoverScore and entailment.

All are optional, none is a headline by itself, and each result states its model, layer, settings and versions. Nothing
heavy is imported before a measure is asked for.
"""

from rolesum.evaluation.model_metrics.model_score import ModelScore

__all__ = ["ModelScore"]
