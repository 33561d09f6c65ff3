"""Human evaluation: annotators rate or compare the blind outputs of evaluated runs on a local page, and the results."""

from rolesum.evaluation.human.results import annotation_results
from rolesum.evaluation.human.store import AnnotationStore, Judgment
from rolesum.evaluation.human.study import Criterion, Study, StudySettings, make_study

__all__ = ["AnnotationStore", "Criterion", "Judgment", "Study", "StudySettings", "annotation_results", "make_study"]
