"""Verifies statements: the probability that a dialogue says each, by a causal model that answers yes or no.

A statement is one more branch of its dialogue's prefix, as in training, and the answer is one token. With z the logits
of the two answers behind the branch, and T a temperature, the probability is

    p = exp(z(yes) / T) / (exp(z(yes) / T) + exp(z(no) / T)) = sigmoid((z(yes) - z(no)) / T).

The prefix is computed once, and the probability of a statement is the same alone and among others, but for
floating-point noise, which is larger in bfloat16. The statements of a text that the same engine generates follow it on
the prefix that was computed for the text: see Verifier.follow_up. Where threads share the engine, all statements are
verified in its thread, in batches with the texts that it generates: see SharedVerifier.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import torch

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, ModelError, Problem, ResourceError, UsageError
from rolesum.generation.async_engine import EngineClient
from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.follow_up import FollowUp, Reading
from rolesum.generation.decoding.kv_cache import GROWTH_TOKENS
from rolesum.generation.engine import Decoding
from rolesum.generation.engines.collector import token_texts
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.key_turns import TurnReading
from rolesum.generation.own_text_support import own_text_weights
from rolesum.generation.turn_probe import TurnProbe, load_turn_probe
from rolesum.instructions import Prompt, PromptLayout, Segment
from rolesum.metrics.calibration import sigmoid
from rolesum.models.adapter_metadata import verify_temperature, verify_threshold
from rolesum.models.adapters import weights_digest
from rolesum.models.allocator import is_out_of_memory
from rolesum.models.hidden_states import num_layers
from rolesum.models.prompt_model import LoadedModel

# The statements of each text of a prompt, given the number of the prompt and its texts in the order of its branches.
StatementsOf = Callable[[int, Sequence[str]], Sequence[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class _Question:
    """Statements of one dialogue that are computed together, and the ids of the answers (said, not said)."""

    prompt: EncodedPrompt
    first: int  # the place of its first statement among those of the dialogue
    answers: tuple[int, int]


class Verifier:
    """Gives the probability that a dialogue says a statement, by the model of an engine.

    Attributes:
        engine: The engine whose model and prompt layout are used.
        temperature: Divides the logits: over 1, the probabilities lie nearer to 0.5.
        own_text: The weights of the support of statements that the model itself wrote, see own_text_support.py; None
            where it has none, and the support is the probability.
        turn_probe: What reads the turns of a dialogue, see turn_probe.py; None where the adapter has none.
    """

    def __init__(self, engine: TransformersEngine, *, temperature: float | None = None) -> None:
        """Without a `temperature`, the one in the adapter's metadata, or 1.

        Raises ModelError for an encoder-decoder and for what the adapter holds in place of weights or a temperature,
        UsageError for a temperature that is not over 0.
        """
        if engine.loaded.encoder_decoder_spec is not None:
            what = f"statements are verified by causal models, and {engine.loaded.name} is an encoder-decoder"
            raise ModelError(what, fix="use another model")
        if temperature is not None and not (isfinite(temperature) and temperature > 0):
            raise UsageError(f"temperature {temperature} is out of its range", fix="give a number over 0")
        self.engine = engine
        self.temperature = verify_temperature(engine.loaded.metadata) if temperature is None else temperature
        self.own_text = own_text_weights(engine.loaded.metadata)
        self.turn_probe = _turn_probe(engine.loaded)

    @property
    def is_trained(self) -> bool:
        """Whether the model was trained to verify statements; else it answers as well as its base does."""
        return bool(self.engine.loaded.metadata.get("verify"))

    @property
    def answer_threshold(self) -> float:
        """The probability under which a statement is doubtful by the answer alone. Raises ModelError if it is none."""
        return verify_threshold(self.engine.loaded.metadata)

    @property
    def summary_threshold(self) -> float:
        """The support under which a statement of a summary is doubtful. Raises ModelError where it is no number."""
        return self.own_text.threshold if self.own_text else self.answer_threshold

    @property
    def layout(self) -> PromptLayout:
        """How the questions are written."""
        return self.engine.layout

    def encode(self, segments: Sequence[Segment]) -> list[int]:
        """The token ids of a prefix or of a question."""
        return self.engine.loaded.encoder.encode(segments)

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """What each token of a generated text adds to it."""
        return token_texts(self.engine.loaded.tokenizer, ids)

    def describe(self) -> dict[str, Any]:
        """Which model this is: its name, hashes of its weights and of the adapter's, the temperature."""
        loaded = self.engine.loaded
        return {
            "model": loaded.name,
            "weights": loaded.fingerprint["weights"],
            "adapter": weights_digest(loaded.adapter) if loaded.adapter else None,
            "temperature": self.temperature,
            "own_text": asdict(self.own_text) if self.own_text else None,
            "turn_probe": self.turn_probe.digest if self.turn_probe else None,
        }

    def verify(self, dialogue: Dialogue, statements: Sequence[str]) -> list[float]:
        """The probability, 0 to 1, that the dialogue says each statement. Raises as `verify_all` does."""
        return self.verify_all([dialogue], [statements])[0]

    def verify_all(self, dialogues: Sequence[Dialogue], statements: Sequence[Sequence[str]]) -> list[list[float]]:
        """The probabilities of each dialogue's statements, which are `statements` at the dialogue's place.

        Raises DataError with all the dialogues that do not fit the model, ModelError for a language that the model does
        not read and for answers that are not single tokens, ResourceError where the device has no memory for a dialogue
        and one statement.
        """
        return [self.to_probabilities(of) for of in self.log_odds(dialogues, statements)]

    def to_probabilities(self, log_odds: Sequence[float]) -> list[float]:
        """The probabilities of log-odds, with the temperature."""
        return [float(one) for one in sigmoid([one / self.temperature for one in log_odds])]

    def answer_ids(self, dialogue: Dialogue) -> tuple[int, int]:
        """The ids of the answers about a dialogue: said, not said. Raises ModelError unless each is one token."""
        return self.engine.loaded.encoder.answer_ids(self.layout.instruction_set_for(dialogue).answer_pairs)

    def follow_up(self, statements_of: StatementsOf, *, reads_turns: bool = False) -> "StatementFollowUp":
        """What verifies the statements of texts while they are generated, by the engine of this Verifier.

        With `reads_turns`, the probe reads the turns of dialogues whose texts have statements, if there is one.

        Example:
            >>> verified = verifier.follow_up(lambda number, texts: [split(text) for text in texts])
            >>> engine.generate(prompts, decoding, follow_up=verified)
            >>> verified.probabilities[0]  # of the first prompt: of each text, that of each of its statements
            [[0.97, 0.04], [0.88]]
        """
        return StatementFollowUp(self, statements_of, reads_turns)

    def log_odds(self, dialogues: Sequence[Dialogue], statements: Sequence[Sequence[str]]) -> list[list[float]]:
        """The difference of the answers' logits, z(yes) - z(no), of each statement. Raises as `verify_all` does."""
        self.engine.loaded.check_languages(list(dialogues))
        found = [[0.0] * len(of) for of in statements]
        for group in self._groups(self._questions(dialogues, statements)):
            for one, odds in self._answer(group):
                found[one.prompt.index][one.first : one.first + len(odds)] = odds
        return found

    def _answer(self, group: Sequence[_Question]) -> Iterator[tuple[_Question, list[float]]]:
        """Each question with its log-odds; where memory runs out, by smaller groups and then by fewer statements."""
        try:
            odds = self._compute(group)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            yield from zip(group, odds, strict=True)
            return
        torch.cuda.empty_cache()  # here: the error no longer holds the tensors
        if not (smaller := _halves(group)):
            what = "a dialogue and one statement do not fit the device's memory"
            raise ResourceError(what, fix="use --device cpu")
        for half in smaller:
            yield from self._answer(half)

    def _compute(self, group: Sequence[_Question]) -> list[list[float]]:
        """The log-odds of each question's statements, in one prefill."""
        with torch.inference_mode():
            logits = self.engine.new_decoder().prefill([one.prompt for one in group], 1)  # (statements, vocabulary)
        self.engine.loaded.check_finite(logits)
        ids = [one.answers for one in group for _ in one.prompt.branches]
        chosen = logits.gather(1, torch.tensor(ids, device=logits.device)).double()  # (statements, 2)
        differences = iter((chosen[:, 0] - chosen[:, 1]).tolist())
        return [[next(differences) for _ in one.prompt.branches] for one in group]

    def _questions(self, dialogues: Sequence[Dialogue], statements: Sequence[Sequence[str]]) -> list[_Question]:
        """The encoded statements of all dialogues; those of one that no memory would hold are split."""
        engine, loaded = self.engine, self.engine.loaded
        questions, problems = list[_Question](), list[Problem]()
        for index, (dialogue, of) in enumerate(zip(dialogues, statements, strict=True)):
            if not of:
                continue
            encoded = engine.encode(index, self.layout.verify_prompt(dialogue, of))
            if (tokens := encoded.max_row_tokens(1)) > loaded.max_length:
                what = f"{tokens} tokens with a statement and its answer; {loaded.name} takes {loaded.max_length}"
                problems.append(Problem(what, dialogue.location, "leave it out, or use a model that reads more"))
                continue
            answers, first = self.answer_ids(dialogue), 0
            for part in encoded.split(lambda one: self._has_memory([one])):
                questions.append(_Question(part, first, answers))
                first += len(part.branches)
        if problems:
            raise DataError(problems)
        return questions

    def _groups(self, questions: Sequence[_Question]) -> Iterator[list[_Question]]:
        """Questions that are computed in one prefill, the longest dialogues first: little of it is padding."""
        group: list[_Question] = []
        for one in sorted(questions, key=lambda each: -len(each.prompt.prefix)):
            prompts = [each.prompt for each in (*group, one)]
            tokens = sum(prompt.cached_tokens() for prompt in prompts)
            if group and (tokens > self.engine.max_prefill_tokens or not self._has_memory(prompts)):
                yield group
                group = []
            group.append(one)
        if group:
            yield group

    def _has_memory(self, prompts: Sequence[EncodedPrompt]) -> bool:
        """Whether the cache has room for these prompts, and for the new tokens for which a block always has room."""
        return self.engine.new_decoder().cache_size(prompts, 1, GROWTH_TOKENS) <= self.engine.token_budget


class StatementFollowUp:
    """Verifies the statements of generated texts: the `follow_up` of FollowUpEngine.generate.

    The engine is that of the Verifier, or a client that shares it.

    Attributes:
        log_odds: By the number of a prompt, a list for each of its texts in the order of its branches: the difference
            of the answers' logits for each statement, or None where the model does not take it with its dialogue.
        turn_readings: By the number of a prompt, what the probe says of each turn of its dialogue, where it was read.
    """

    def __init__(self, verifier: Verifier, statements_of: StatementsOf, reads_turns: bool = False) -> None:
        self.verifier, self.statements_of = verifier, statements_of
        self.turn_probe = verifier.turn_probe if reads_turns else None
        self.log_odds: dict[int, list[list[float | None]]] = {}
        self.turn_readings: dict[int, list[TurnReading]] = {}

    @property
    def probabilities(self) -> dict[int, list[list[float | None]]]:
        """As `log_odds`: the probability of each statement."""
        return {number: [self._likely(of) for of in of_texts] for number, of_texts in self.log_odds.items()}

    def _likely(self, log_odds: Sequence[float | None]) -> list[float | None]:
        found = iter(self.verifier.to_probabilities([one for one in log_odds if one is not None]))
        return [None if one is None else next(found) for one in log_odds]

    def __call__(self, number: int, prompt: Prompt) -> FollowUp:
        """Raises ModelError for a language that the model does not read, or for answers that are not single tokens."""
        self.verifier.engine.loaded.check_languages([prompt.dialogue])
        return _PromptFollowUp(self, number, prompt.dialogue)


class _PromptFollowUp:
    """The follow-up of one prompt: its questions are those about the statements that fit the model."""

    def __init__(self, owner: StatementFollowUp, number: int, dialogue: Dialogue) -> None:
        self.owner, self.number, self.dialogue = owner, number, dialogue
        self.answer_ids = owner.verifier.answer_ids(dialogue)
        self.fits: list[list[bool]] = []  # by text and statement
        self.room = 0  # tokens that the model takes behind the dialogue

    def questions(self, prompt: EncodedPrompt, texts: Sequence[Sequence[int]]) -> list[list[int]]:
        engine, layout = self.owner.verifier.engine, self.owner.verifier.layout
        self.room = engine.loaded.max_length - len(prompt.prefix)
        found = []
        for of in self.owner.statements_of(self.number, [engine.decode(ids) for ids in texts]):
            branches = [layout.verify_branch(self.dialogue, statement) for statement in of]
            asked = [engine.loaded.encoder.encode(branch) for branch in branches]
            self.fits.append([len(one) < self.room for one in asked])
            found += [one for one in asked if len(one) < self.room]
        return found

    def add_answers(self, logits: Sequence[Sequence[float]]) -> None:
        odds = iter([said - not_said for said, not_said in logits])
        self.owner.log_odds[self.number] = [[next(odds) if fits else None for fits in of] for of in self.fits]

    def reading(self) -> Reading | None:
        if (probe := self.owner.turn_probe) is None:
            return None
        encode = self.owner.verifier.engine.loaded.encoder.encode
        ids, places = probe.encode(self.dialogue, lambda text: encode([Segment("instruction", text, continues=True)]))
        return Reading(ids, places, probe.layer) if len(ids) <= self.room else None

    def add_hidden_states(self, hidden: torch.Tensor) -> None:
        assert self.owner.turn_probe is not None
        self.owner.turn_readings[self.number] = self.owner.turn_probe.read(self.dialogue, hidden)


class SharedVerifier(Verifier):
    """A Verifier of an engine that threads share, for one of its clients.

    The engine answers in its own thread, in batches with the texts of all clients. Statements that are not about a
    generated text are asked as the follow-up of a text of one token. What the client cancels is not answered.

    Attributes:
        client: The client, whose prompt layout is used.
    """

    def __init__(self, client: EngineClient, engine: TransformersEngine, *, temperature: float | None = None) -> None:
        """`engine` is the one that the client shares. Raises as Verifier does."""
        super().__init__(engine, temperature=temperature)
        self.client = client

    @property
    def layout(self) -> PromptLayout:
        return self.client.layout

    def encode(self, segments: Sequence[Segment]) -> list[int]:
        with self.client.shared.tokenizer_lock:
            return super().encode(segments)

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        with self.client.shared.tokenizer_lock:
            return super().token_texts(ids)

    def log_odds(self, dialogues: Sequence[Dialogue], statements: Sequence[Sequence[str]]) -> list[list[float]]:
        """As Verifier.log_odds. Raises RequestCanceled too, once the client was canceled."""
        asked = [number for number, of in enumerate(statements) if of]
        prompts = [self._prompt(dialogues[number], statements[number]) for number in asked]
        answered = self.follow_up(lambda place, _: [statements[asked[place]]])
        self.client.generate(prompts, Decoding(max_new_tokens=1), follow_up=answered)
        found = [list[float]() for _ in statements]
        for place, number in enumerate(asked):
            (of_text,) = answered.log_odds[place]
            found[number] = [one for one in of_text if one is not None]  # all of them: the longest one fits
        return found

    def _prompt(self, dialogue: Dialogue, statements: Sequence[str]) -> Prompt:
        """The dialogue and its longest statement: where this fits the model, with one new token, all of them do."""
        sizes = {one: len(self.encode(self.layout.verify_branch(dialogue, one))) for one in statements}
        return self.layout.verify_prompt(dialogue, [max(sizes, key=sizes.__getitem__)])


def _turn_probe(loaded: LoadedModel) -> TurnProbe | None:
    hidden_size = int(loaded.config.get_text_config().hidden_size)
    return load_turn_probe(loaded.adapter or loaded.path, hidden_size, num_layers(loaded.language_model))


def _halves(group: Sequence[_Question]) -> list[Sequence[_Question]]:
    """Two groups of half as many questions, or of one question with half of its statements; none of one statement."""
    if (middle := len(group) // 2) > 0:
        return [group[:middle], group[middle:]]
    (one,) = group
    middle, end = len(one.prompt.branches) // 2, len(one.prompt.branches)
    if not middle:
        return []
    return [
        [_Question(one.prompt.part(start, stop), one.first + start, one.answers)]
        for start, stop in ((0, middle), (middle, end))
    ]


def verify(
    dialogue: Dialogue, statements: Sequence[str], loaded: LoadedModel, *, temperature: float | None = None
) -> list[float]:
    """The probability, 0 to 1, that the dialogue says each statement.

    The dialogue is computed once for all of them. Without a `temperature`, the one in the adapter's metadata, or 1. For
    many dialogues, or beside a summarizer's engine, use a Verifier. Raises as Verifier and its `verify_all` do.

    Example:
        >>> loaded = load_model(adapter="runs/verify-qwen2.5-coder-0.5b/adapter")
        >>> verify(dialogue, ["Ben sends the iOS build today."], loaded)
        [0.97]
    """
    return Verifier(TransformersEngine(loaded), temperature=temperature).verify(dialogue, statements)
