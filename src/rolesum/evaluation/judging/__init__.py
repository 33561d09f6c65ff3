"""Human evaluation: annotators rate or compare the blind outputs of evaluated runs on a local page, and the results."""

from rolesum.evaluation.judging.results import judging_results
from rolesum.evaluation.judging.store import Judgement, Store
from rolesum.evaluation.judging.study import Criterion, Settings, Study, make_study

__all__ = ["Criterion", "Judgement", "Settings", "Store", "Study", "judging_results", "make_study"]
