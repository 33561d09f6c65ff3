"""Which turns of a dialogue say what was wanted, how it ended, and what was taken back: a linear probe of a model.

Once the model has read a dialogue, the dialogue's turns are given to it again, behind the same prefix. The hidden state
behind one of its layers at the end of each turn then holds what the model knows of that turn, what follows it in the
dialogue included. With h that state and f a few features of the turn's place, each of the three probabilities is

    sigmoid(bias + weights · [f, h]).

The weights are fitted to what readers say of the turns of training dialogues (benchmarks/turn_probe.py), and stand in
the adapter's directory. They hold for this adapter alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rolesum import strict_json
from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Dialogue
from rolesum.errors import ModelError
from rolesum.generation.excerpts import excerpt, speaker_label
from rolesum.generation.key_turns import TurnReading
from rolesum.models.adapter_metadata import PROBE_FILE
from rolesum.roles import USER


@dataclass(frozen=True, eq=False, slots=True)
class TurnProbe:
    """The weights of the probe, and what they were fitted with.

    Attributes:
        layer: The layer behind which the hidden states are read, counted from 0.
        headings: By language ("en", "zh"): the line before the turns.
        weights: float32 (3, features and hidden): of the matter, of the end, of what was taken back.
        bias: float32 (3,).
    """

    layer: int
    headings: Mapping[str, str]
    weights: torch.Tensor
    bias: torch.Tensor

    def encode(self, dialogue: Dialogue, encode: Callable[[str], list[int]]) -> tuple[list[int], list[int]]:
        """The ids of the turns behind their heading, and the place of each turn's last id; `encode` is a tokenizer's.

        A long turn is cut to an excerpt.
        """
        language = "zh" if dialogue.language == "zh" else "en"
        ids, places = encode(self.headings[language]), list[int]()
        for turn in dialogue.turns:
            words = excerpt(turn.text, "", language)
            ids = ids + encode(f"{speaker_label(turn.speaker, language)}{words}\n")
            places.append(len(ids) - 1)
        return ids, places

    def read(self, dialogue: Dialogue, hidden: torch.Tensor) -> list[TurnReading]:
        """What is said of each turn, by the hidden states (turns, hidden) at their ends."""
        features = torch.tensor(place_features(DialogueIndex(dialogue)), dtype=torch.float32)
        inputs = torch.cat([features, hidden.float().cpu()], dim=1)
        found = torch.sigmoid(inputs @ self.weights.T + self.bias)
        return [TurnReading(*of) for of in found.tolist()]

    @property
    def digest(self) -> str:
        """The SHA-256 digest of the weights."""
        return hashlib.sha256(torch.cat([self.weights.flatten(), self.bias]).numpy().tobytes()).hexdigest()

    def save(self, directory: Path) -> None:
        """Write the probe into an adapter's directory."""
        tensors = {"weights": self.weights.contiguous(), "bias": self.bias.contiguous()}
        metadata = {"layer": str(self.layer), "headings": strict_json.dumps(dict(self.headings), ensure_ascii=False)}
        save_file(tensors, directory / PROBE_FILE, metadata=metadata)


def place_features(index: DialogueIndex) -> list[tuple[float, ...]]:
    """Of each turn: its share of the longest turn's n-grams, its place from 0 to 1, and whose it is."""
    dialogue = index.dialogue
    lengths = [len(of) for of in index.turn_ngrams]
    longest, last = max(lengths, default=0) or 1, max(1, len(lengths) - 1)
    is_user = [dialogue.roles.get(turn.speaker) == USER for turn in dialogue.turns]
    first = is_user.index(True) if True in is_user else None
    return [
        (length / longest, place / last, float(user), user * place / last, float(place == first))
        for place, (length, user) in enumerate(zip(lengths, is_user, strict=True))
    ]


NUM_FEATURES = 5  # of place_features


def load_turn_probe(directory: Path, hidden_size: int, num_layers: int) -> TurnProbe | None:
    """The probe in the directory of an adapter or a model, None where there is none.

    Raises ModelError for a file that is broken or that another model's probe is in.
    """
    file = directory / PROBE_FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as stored:
            metadata = stored.metadata() or {}
            weights, bias = stored.get_tensor("weights"), stored.get_tensor("bias")
        layer, headings = int(metadata["layer"]), json.loads(metadata["headings"])
        fits = weights.shape == (3, NUM_FEATURES + hidden_size) and bias.shape == (3,) and 0 <= layer < num_layers
        fits = fits and bool(weights.isfinite().all() and bias.isfinite().all())
        fits = fits and isinstance(headings, dict) and all(isinstance(headings.get(one), str) for one in ("en", "zh"))
    except (OSError, SafetensorError, KeyError, ValueError):
        fits = False
    if not fits:
        raise ModelError(
            "no probe of turns for this model", str(file), "restore the adapter's files, or remove this one"
        )
    return TurnProbe(layer, headings, weights.float(), bias.float())
