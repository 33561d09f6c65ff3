"""Prompts as token ids, and token ids as texts, for engines whose weights another library or machine holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rolesum.counts import counted
from rolesum.errors import LengthError, Problem, UsageError
from rolesum.generation.engine import Decoding, Generation
from rolesum.instructions import Prompt

if TYPE_CHECKING:
    from rolesum.models.prompt_model import PromptModel

TOO_LONG_FIX = (
    "use --long-dialogues drop-middle, map-reduce or refine, lower --max-new-tokens, or take a model that reads more"
)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One text to generate: the branch of the prompt, and all token ids before the text. `seed` is for sampling."""

    index: int
    branch: int
    prompt: Prompt
    ids: tuple[int, ...]
    seed: int


def sampling_seed(decoding: Decoding, prompt: Prompt, branch: int) -> int:
    """The seed of one text in 31 bits, which every engine takes; see Decoding.text_seed."""
    return int.from_bytes(decoding.text_seed(prompt.dialogue.id, branch)[:4], "big") >> 1


def check_context(context: int, model: "PromptModel") -> None:
    """Raise UsageError for a context that is longer than the model's own."""
    if context > model.max_length:
        what = f"--context {context} is more than the {model.max_length} tokens of {model.name}"
        raise UsageError(what, fix="lower it, or leave it out")


class PromptEncoder:
    """Encodes prompts to the ids that the transformers engine would give to the same model, and decodes new ids."""

    def __init__(self, model: "PromptModel", context: int | None = None) -> None:
        """`context` lowers the model's own length. Raises UsageError for an encoder-decoder, or a longer `context`."""
        if model.encoder_decoder_spec is not None:
            what = f"{model.name} is an encoder-decoder, which only the transformers engine runs"
            raise UsageError(what, fix="use --engine transformers")
        if context is not None:
            check_context(context, model)
        self.model = model
        self.max_length = context or model.max_length
        self.stop_ids = stop_ids(model)

    def requests(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[TokenRequest]:
        """One request for each branch of each prompt, in order. Raises LengthError with all that do not fit."""
        found, problems = list[TokenRequest](), list[Problem]()
        for index, prompt in enumerate(prompts):
            rows = self._rows(prompt)
            longest = max(map(len, rows))
            if longest + decoding.max_new_tokens > self.max_length:
                room = f"at most {self.max_length} are read"
                what = f"{counted(longest, 'token')} and up to {counted(decoding.max_new_tokens, 'new one')}; {room}"
                problems.append(Problem(what, prompt.dialogue.location, TOO_LONG_FIX))
            found += [
                TokenRequest(index, branch, prompt, ids, sampling_seed(decoding, prompt, branch))
                for branch, ids in enumerate(rows)
            ]
        if problems:
            raise LengthError(problems)
        return found

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        return max(map(len, self._rows(prompt))) + max_new_tokens <= self.max_length

    def decode(self, ids: Sequence[int], ended: bool) -> str:
        """The text of new ids; with `ended`, the last one is a stop id and is left out."""
        kept = list(ids[:-1] if ended else ids)
        return str(self.model.tokenizer.decode(kept, skip_special_tokens=True)).strip()

    def _rows(self, prompt: Prompt) -> list[tuple[int, ...]]:
        encode = self.model.encoder.encode
        prefix = encode(prompt.prefix)
        return [(*prefix, *encode(branch)) for branch in prompt.branches]


def stop_ids(model: "PromptModel") -> tuple[int, ...]:
    """All ids that end an answer, as for the loaded model; known without its weights."""
    from transformers import GenerationConfig

    from rolesum.models.loading import collect_stop_ids

    if (model.path / "generation_config.json").is_file():
        generation = GenerationConfig.from_pretrained(str(model.path))
    else:
        generation = GenerationConfig.from_model_config(model.config)
    found: tuple[int, ...] = collect_stop_ids(model, generation, model.config)
    return found


def make_generation(
    text: str,
    tokens: int,
    stopped: bool,
    logprobs: Sequence[float] | None,
    seconds: float,
    ids: Sequence[int] = (),
) -> Generation:
    """A Generation, without log-probabilities where some of its tokens have none.

    `ids` are the tokens, of which the last one is the end where the model `stopped`.
    """
    mean, lowest = (sum(logprobs) / len(logprobs), min(logprobs)) if logprobs else (None, None)
    pairs = tuple(zip(ids, logprobs or (), strict=False))
    kept = pairs[:-1] if stopped else pairs
    return Generation(text, tokens, "stop" if stopped else "length", mean, lowest, seconds, kept)
