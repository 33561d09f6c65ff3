"""What a run keeps of the ability to verify statements that the weights it goes on from have.

Tuning on summaries alone leaves that ability nearly as it was (docs/results.md, training on a few dialogues). So it is
measured on labeled statements of rolesum-dialogues, and kept where it holds: with the temperature, the threshold, the
weights for a model's own texts and the probe of turns, all of which were fitted to the earlier weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rolesum.console import log
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, ModelError, ResourceError
from rolesum.formats import read_dialogues
from rolesum.generation.support_calibration import fitting_dialogues
from rolesum.generation.verification import Verifier
from rolesum.metrics.detection import auroc
from rolesum.models.adapter_metadata import PROBE_FILE, verify_temperature
from rolesum.models.base_adapter import BaseAdapter
from rolesum.models.prompt_model import LoadedModel
from rolesum.recipe import Recipe
from rolesum.training.validation import recipe_engine

DIALOGUES = 10  # of each language: 60 statements
LEAST_AUROC = 0.8
_LANGUAGES = ("en", "zh")
_KEPT = ("temperature", "threshold", "own_text")


@dataclass(frozen=True)
class VerifyingWeights:
    """Weights that verify statements, from which a run goes on: an adapter, or a base whose own weights were tuned.

    Attributes:
        name: As the recipe names them.
        directory: Where they lie.
        verify: What their metadata say of verifying.
        languages: Those of the training dialogues, of which there are statements to measure on.
    """

    name: str
    directory: Path
    verify: Mapping[str, Any]
    languages: tuple[str, ...]

    @property
    def probe(self) -> Path | None:
        """The file of their probe of turns, if they have one."""
        file = self.directory / PROBE_FILE
        return file if file.is_file() else None


def verifying_weights(
    recipe: Recipe, loaded: LoadedModel, adapter: BaseAdapter | None, dialogues: Iterable[Dialogue]
) -> VerifyingWeights | None:
    """What a run goes on from, if that verifies statements and the run does not train on statements itself."""
    metadata = adapter.metadata if adapter else loaded.metadata
    if recipe.verify or not (verify := metadata.get("verify")):
        return None
    used = {dialogue.language for dialogue in dialogues}
    languages = tuple(one for one in _LANGUAGES if one in used) or _LANGUAGES[:1]
    directory = adapter.directory if adapter else loaded.path
    return VerifyingWeights(adapter.name if adapter else recipe.base, directory, verify, languages)


def inherited_metadata(
    recipe: Recipe, loaded: LoadedModel, weights: VerifyingWeights, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """The metadata with what is kept of verifying, by the present weights; without it, where that does not hold.

    What cannot be measured is not kept, and the reason is logged, so that the weights are stored in any case.
    """
    loaded.model.eval()
    try:
        engine = recipe_engine(recipe, loaded)
        temperature = verify_temperature({"verify": dict(weights.verify)})
        samples = [one for language in weights.languages for one in _labeled(language)]
        dialogues = fitting_dialogues(samples, engine)
        found = _auroc(Verifier(engine, temperature=temperature), dialogues)
    except (DataError, ModelError, ResourceError) as error:
        log(f"verify: whether it still can as {weights.name} does was not measured: {error.problems[0].what}")
        return dict(metadata)
    holds = found >= LEAST_AUROC
    count = sum(len(one.statements) for one in dialogues)
    log(
        f"verify: AUROC {found:.3f} on {count} statements of rolesum-dialogues: "
        + (f"as {weights.name}, it verifies its summaries" if holds else f"under {LEAST_AUROC}, so it verifies nothing")
    )
    if not holds:
        return dict(metadata)
    kept = {name: weights.verify[name] for name in _KEPT if name in weights.verify}
    measured = {"dialogues": len(dialogues), "statements": count, "auroc": round(found, 4)}
    return {**metadata, "verify": {**kept, "inherited_from": weights.name, "measured_on": measured}}


def _labeled(language: str) -> list[Dialogue]:
    return read_dialogues(f"sample:dialogues-{language}-validation")[:DIALOGUES]


def _auroc(verifier: Verifier, dialogues: Sequence[Dialogue]) -> float:
    """The probability that a true statement has more support than a false one. Raises DataError where none fit."""
    labels = np.array([one.supported for dialogue in dialogues for one in dialogue.statements])
    if labels.all() or not labels.any():
        raise DataError("no dialogue with statements fits the model")
    found = verifier.verify_all(dialogues, [[one.text for one in dialogue.statements] for dialogue in dialogues])
    support = np.array([one for of in found for one in of])
    return auroc(support[labels], support[~labels])
