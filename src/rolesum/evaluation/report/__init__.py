"""report.html: one self-contained page of scores, checks, plots and cases, for a run or a comparison of runs.

It holds no address and asks for nothing from outside, so that it can be kept and sent like a picture.
"""

from rolesum.evaluation.report.page import write_report
from rolesum.evaluation.report.tables import ReportSystem, score_tables

__all__ = ["ReportSystem", "score_tables", "write_report"]
