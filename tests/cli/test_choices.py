"""The choices of options are those of the modules that implement them, which take long to import."""

from typing import get_args, get_type_hints

import pytest

from rolesum.cli.annotate import StudyMode
from rolesum.cli.export import ExportDtype, ExportFormat, GgufPrecision
from rolesum.cli.options import DtypeName, EngineName, GpuName, LanguageName, MultiReference, ScorerName, VerifyMode
from rolesum.evaluation.human.study import StudySettings
from rolesum.generation.factory import ENGINES
from rolesum.generation.support import VERIFY_MODES
from rolesum.instructions.sets import LANGUAGES
from rolesum.metrics import scorers
from rolesum.models.export.exporter import EXPORT_FORMATS
from rolesum.models.export.gguf import LOGPROB_TOLERANCE
from rolesum.models.loading import DTYPES
from rolesum.training.cost_model import GPUS

CHOICES = {
    "dtype": (DtypeName, ("auto", *DTYPES)),
    "engine": (EngineName, ENGINES),
    "export dtype": (ExportDtype, DTYPES),
    "export format": (ExportFormat, (*EXPORT_FORMATS, "gguf")),
    "gguf precision": (GgufPrecision, LOGPROB_TOLERANCE),
    "gpu": (GpuName, GPUS),
    "language": (LanguageName, LANGUAGES),
    "multi-reference": (MultiReference, get_args(scorers.MultiReference)),
    "scorer": (ScorerName, scorers.SCORERS),
    "study mode": (StudyMode, get_args(get_type_hints(StudySettings)["mode"])),
    "verify": (VerifyMode, VERIFY_MODES),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_those_of_the_module(name):
    literal, known = CHOICES[name]
    assert get_args(literal) == tuple(known)
