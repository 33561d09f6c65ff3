"""Human evaluation: annotators rate or compare the outputs of evaluated runs, blind, on a local web page."""

from rolesum.evaluation.human.results import annotation_results
from rolesum.evaluation.human.store import AnnotationStore, Judgment
from rolesum.evaluation.human.study import Criterion, Study, StudySettings, make_study

__all__ = ["AnnotationStore", "Criterion", "Judgment", "Study", "StudySettings", "annotation_results", "make_study"]
