"""Human evaluation: annotators rate or compare the blind outputs of evaluated runs on a local page, and the results."""

from rolesum.evaluation.human.results import judging_results
from rolesum.evaluation.human.store import Judgment, Store
from rolesum.evaluation.human.study import Criterion, Settings, Study, make_study

__all__ = ["Criterion", "Judgment", "Settings", "Store", "Study", "judging_results", "make_study"]
