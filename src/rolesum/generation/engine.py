"""The Engine protocol: what turns prompts into texts, whichever library does the work behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rolesum.errors import UsageError
from rolesum.instructions import Prompt, PromptLayout

DEFAULT_MAX_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Decoding:
    """How texts are chosen: greedily, unless a `temperature` or `beams` say otherwise. All limits are in tokens.

    Nothing of a checkpoint's own generation_config is used. `top_k` 0 and `top_p` 1 leave all tokens; a beam's score is
    its log-probability over length ** `length_penalty`. The `seed`, the dialogue's id and the branch's number decide a
    sampled text, whatever stands beside it in a batch.
    """

    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises UsageError for numbers that mean nothing, or do not go together."""
        ranges = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "min_new_tokens": (0 <= self.min_new_tokens <= self.max_new_tokens, f"0 to {self.max_new_tokens}"),
            "temperature": (0 <= self.temperature <= 100, "0 to 100"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "over 0, up to 1"),
            "beams": (1 <= self.beams <= 64, "1 to 64"),
            "length_penalty": (-10 <= self.length_penalty <= 10, "-10 to 10"),
        }
        for name, (is_right, wanted) in ranges.items():
            if not is_right:
                raise UsageError(f"{name} {getattr(self, name)} is out of its range", fix=f"{_option(name)}: {wanted}")
        if self.beams > 1 and self.temperature:
            raise UsageError("beams are not sampled", fix="give --beams or --temperature")
        if not self.temperature and (self.top_k or self.top_p < 1):
            name = "top_k" if self.top_k else "top_p"
            raise UsageError(f"{_option(name)} is for sampling", fix="add --temperature 0.7, or leave it out")
        if self.beams == 1 and self.length_penalty != 1:
            raise UsageError("--length-penalty is for beams", fix="add --beams 4, or leave it out")

    @property
    def greedy(self) -> bool:
        return self.beams == 1 and not self.temperature


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class Generation:
    """One text and how it came about.

    `finish_reason` is "stop" where the model ended it, "length" where the limit did. Log-probabilities are natural, of
    the model's own distribution, over the text's tokens and the one that ended it; None where an engine has none.
    `seconds` go from when the engine took the prompt up to the text's end.
    """

    text: str
    tokens: int
    finish_reason: str
    mean_logprob: float | None = None
    lowest_logprob: float | None = None
    seconds: float = 0.0


# What is told while texts grow: number of the prompt, number of the branch, what was added to its text.
OnText = Callable[[int, int, str], None]


class Engine(Protocol):
    """Texts for prompts. `layout` says how the engine's model wants its prompts written."""

    name: str
    layout: PromptLayout

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        """For each prompt, in order, one text per branch. `on_done` is told how many prompts were finished.

        Two branches of one prompt may be alike: each is sampled for itself. Raises DataError, before any work is done,
        with all the prompts that do not fit the model.
        """
        ...

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Whether the model takes a prompt and as many new tokens for each of its branches."""
        ...
