"""The statements of summaries: how far the dialogue supports each, by a model that verifies them and by checks.

A statement's support is the probability that the dialogue says it. Of a text that the model itself wrote, it tells too
how likely the statement's tokens were, if the adapter has weights for that (own_text_support.py). Where the dialogue
does not fit the model with the statement, it is read in chunks of turns, and the support is the highest that a chunk
gives. What fails to be verified has no support, and costs no summary.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal, get_args

from rolesum.checks.evidence import find_turns
from rolesum.checks.index import DialogueIndex
from rolesum.checks.runner import check_indexed
from rolesum.checks.statements import StatementSpan, split_statements
from rolesum.console import log
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, RoleSummary, SummaryStatement
from rolesum.errors import DataError, ModelError, ResourceError, UsageError, did_you_mean
from rolesum.formats.shown_times import shown_times, times_of
from rolesum.generation.async_engine import EngineClient
from rolesum.generation.engine import Engine, Generation, MakeFollowUp
from rolesum.generation.factory import EngineSpec
from rolesum.generation.key_turns import TurnReading
from rolesum.generation.long_dialogues.chunking import Chunk, split_into_chunks, turn_spans
from rolesum.generation.own_text_support import statement_logprobs
from rolesum.generation.rerank import Reranker, best_text
from rolesum.models.adapter_metadata import MODEL_FOLDER, read_metadata
from rolesum.models.languages import catalog_entry

if TYPE_CHECKING:
    from rolesum.generation.verification import StatementFollowUp, Verifier

VerifyMode = Literal["off", "flag", "quote", "drop", "rerank"]
MARKED, QUOTED = "flag", "quote"  # where the text is wanted as it grows, and the default elsewhere
VERIFY_MODES: tuple[str, ...] = get_args(VerifyMode)

# What is wrong with a statement or its dialogue; a Stopped error is none of these.
_ERRORS = (DataError, ModelError, ResourceError, UsageError)
# A statement that takes a larger share of the model's length leaves too little of it for a chunk of the dialogue.
_LONGEST_SHARE = 0.5

Support = Mapping[str, float | None]  # text of a statement -> its support, None where it could not be verified


def check_verify_options(mode: str | None, threshold: float | None, engine: str) -> None:
    """Raise UsageError for an unknown mode, one that an engine does not have, and a threshold that decides nothing."""
    if mode is not None and mode not in VERIFY_MODES:
        raise UsageError(f'unknown choice "{mode}" for --verify', fix=did_you_mean(mode, VERIFY_MODES))
    if mode not in (None, "off") and engine != "transformers":
        fix = "use --engine transformers, or leave --verify out"
        raise UsageError(f"the engine {engine} does not verify statements", fix=fix)
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"a threshold of {threshold} is out of its range", fix="--support-threshold: 0 to 1")
    if threshold is not None and mode == "off":
        fix = "leave --support-threshold or --verify off out"
        raise UsageError("a threshold decides nothing where no statement is verified", fix=fix)


def choose_mode(mode: str | None, threshold: float | None, can_verify: bool) -> str:
    """The mode; without one, quote where statements can be verified, else off.

    Raises UsageError where they cannot be, and `mode` or a `threshold` asks for it.
    """
    if can_verify or (mode in (None, "off") and threshold is None):
        return mode or (QUOTED if can_verify else "off")
    asked = f"--verify {mode}" if mode else "--support-threshold"
    what = f"{asked} needs the engine transformers with an adapter that was trained to verify statements"
    fix = (
        "name such an adapter, train one with the key verify in its recipe (docs/training.md), or leave the option out"
    )
    raise UsageError(what, fix=fix)


def can_verify(spec: EngineSpec) -> bool | None:
    """Whether an engine will verify statements, by what its files say before it is opened; None where they do not."""
    if spec.engine != "transformers":
        return False
    if spec.adapter is not None and (metadata := read_metadata(spec.adapter)):
        return bool(metadata.get("verify"))
    if spec.model is None:
        return False
    if (folder := Path(spec.model)).is_dir():
        return any(read_metadata(one).get("verify") for one in (folder, folder / MODEL_FOLDER))
    return False if catalog_entry(spec.model) else None


def open_verifier(engine: Engine) -> "Verifier | None":
    """The Verifier of an engine in this process whose model was trained to verify statements; None for any other.

    For a client of a shared engine, it is one that verifies in the thread of that engine.
    """
    model = engine.text_model
    if model is None or not model.metadata.get("verify"):
        return None
    from rolesum.generation.engines.transformers import TransformersEngine  # here: torch takes seconds to import
    from rolesum.generation.verification import SharedVerifier, Verifier

    if isinstance(engine, EngineClient):
        shared = engine.shared.engine
        if engine.features.follow_ups and isinstance(shared, TransformersEngine):
            return SharedVerifier(engine, shared)
        return None
    return Verifier(engine) if isinstance(engine, TransformersEngine) else None


def support_reranker(finder: "SupportFinder") -> Reranker:
    """Picks the best-supported text: the one whose lowest support is highest, and of those the highest mean.

    All different statements of a role's texts are verified at once. One that could not be verified counts as 0.
    """

    def choose(dialogue: Dialogue, role: str, texts: Sequence[Generation]) -> int:
        said = {one.text: split_statements(one.text, dialogue.language) for one in texts}
        support = finder.find([dialogue], [[span.text for of in said.values() for span in of]])[0]

        def value(one: Generation) -> tuple[float, ...]:
            of_text = finder.of_text(one.text, one.token_logprobs, said[one.text], support)
            found = [each or 0.0 for each in of_text]
            return (min(found), fmean(found)) if found else (-1.0, -1.0)

        return best_text(texts, value)

    return choose


def add_statements(
    summaries: Sequence[Sequence[RoleSummary]],
    dialogues: Sequence[Dialogue],
    finder: "SupportFinder | None",
    threshold: float,
) -> list[list[RoleSummary]]:
    """The summaries of each dialogue with their statements, which are verified if there is a SupportFinder.

    `dialogues` are what the model was shown: redacted where the summaries are.
    """
    spans = [
        [split_statements(one.text, dialogue.language) for one in of]
        for of, dialogue in zip(summaries, dialogues, strict=True)
    ]
    support: Sequence[Support] = [{}] * len(dialogues)
    if finder:
        support = finder.find(dialogues, [[span.text for one in of for span in one] for of in spans])

    def with_statements(one: RoleSummary, spans: Sequence[StatementSpan], found: Support) -> RoleSummary:
        tokens = one.token_logprobs if one.coverage is None else ()  # else the dialogue was not what they follow
        values = finder.of_text(one.text, tokens, spans, found) if finder else [None] * len(spans)
        said = [SummaryStatement(s.start, s.end, s.text, value) for s, value in zip(spans, values, strict=True)]
        return replace(one, statements=tuple(said), support_threshold=threshold)

    return [
        [with_statements(one, spans_of_one, found) for one, spans_of_one in zip(of, spans_of, strict=True)]
        for of, spans_of, found in zip(summaries, spans, support, strict=True)
    ]


def add_evidence(
    summaries: Sequence[RoleSummary], dialogue: Dialogue, restore: Callable[[str], str] = str
) -> list[RoleSummary]:
    """The summaries of a dialogue, whose statements get turns, times and the flags of the model-free checks.

    Both are found in the dialogue as it is; `restore` puts redacted values back into the summaries for that.
    """
    index, times = DialogueIndex(dialogue), shown_times(dialogue)
    return [replace(one, statements=tuple(_with_evidence(one, index, times, restore))) for one in summaries]


def _with_evidence(
    summary: RoleSummary, index: DialogueIndex, times: Sequence[str], restore: Callable[[str], str]
) -> Iterator[SummaryStatement]:
    text = restore(summary.text)
    flags = check_indexed(index, summary.role, text).flags if summary.statements else ()
    if summary.finish_reason == "length":  # that says already that the text was cut off
        flags = tuple(flag for flag in flags if flag.check != "truncated")
    for one in summary.statements:
        start, end = (len(restore(summary.text[:place])) for place in (one.start, one.end))
        notes = dict.fromkeys(flag.note for flag in flags if flag.start < end and flag.end > start)
        turns = find_turns(text[start:end], index)
        yield replace(one, turns=turns, flags=tuple(notes), times=times_of(turns, times))


class SupportFinder:
    """Finds the support of statements by a Verifier, once for each statement of a dialogue.

    Texts that are generated with its `follow_up` are verified while the others are still being written, on the prefix
    that the cache holds. For one call of the Summarizer: it keeps the dialogues.

    Attributes:
        turn_readings: By a dialogue's id in memory, what the model says of each turn, where it was read by the
            `follow_up`; only with `reads_turns`.
    """

    def __init__(self, verifier: "Verifier", *, reads_turns: bool = False) -> None:
        self.verifier, self.reads_turns = verifier, reads_turns
        self.turn_readings: dict[int, list[TurnReading]] = {}
        self._calls: list[tuple[Sequence[Dialogue], dict[int, list[list[str]]], StatementFollowUp]] = []
        self._known: dict[int, tuple[Dialogue, dict[str, float | None]]] = {}  # by the dialogue's id in memory

    def follow_up(self, dialogues: Sequence[Dialogue]) -> MakeFollowUp:
        """What verifies the statements of the texts that an engine generates of these dialogues, one prompt of each."""
        asked: dict[int, list[list[str]]] = {}

        def statements_of(number: int, texts: Sequence[str]) -> list[list[str]]:
            asked[number] = [statements(text, dialogues[number]) for text in texts]
            return asked[number]

        verified = self.verifier.follow_up(statements_of, reads_turns=self.reads_turns)
        self._calls.append((dialogues, asked, verified))
        return verified

    def find(self, dialogues: Sequence[Dialogue], statements: Sequence[Sequence[str]]) -> list[Support]:
        """The support of the statements of each dialogue. What cannot be verified is logged with the reason."""
        self._collect()
        known = [self._of(dialogue) for dialogue in dialogues]
        left = [[text for text in of if text not in has] for of, has in zip(statements, known, strict=True)]
        for has, found in zip(known, find_support(self.verifier, dialogues, left), strict=True):
            has.update(found)
        return list(known)

    def of_text(
        self,
        text: str,
        token_logprobs: Sequence[tuple[int, float]],
        spans: Sequence[StatementSpan],
        by_answer: Support,
    ) -> list[float | None]:
        """The support of the statements of a text that the model wrote, by its tokens and what `find` gave.

        Without weights for that, it is what `find` gave. Tokens that are none, or not the text's, are not known.
        """
        weights, answers = self.verifier.own_text, [by_answer.get(span.text) for span in spans]
        if weights is None:
            return answers
        added = self.verifier.token_texts([token for token, _ in token_logprobs])
        tokens = [(one, logprob) for one, (_, logprob) in zip(added, token_logprobs, strict=True)]
        threshold = self.verifier.answer_threshold

        def support(answer: float | None, logprobs: Sequence[float]) -> float | None:
            if answer is None:
                return None
            return weights.support(answer, logprobs) if logprobs else weights.support_without_tokens(answer, threshold)

        return list(map(support, answers, statement_logprobs(text, tokens, spans)))

    def _of(self, dialogue: Dialogue) -> dict[str, float | None]:
        return self._known.setdefault(id(dialogue), (dialogue, {}))[1]

    def _collect(self) -> None:
        """Take over what was verified while texts were generated; what did not fit the model is left to be asked."""
        for dialogues, asked, verified in self._calls:
            for number, of_texts in verified.probabilities.items():
                known = self._of(dialogues[number])
                for texts, support in zip(asked[number], of_texts, strict=True):
                    pairs = zip(texts, support, strict=True)
                    known.update((text, value) for text, value in pairs if value is not None)
            for number, readings in verified.turn_readings.items():
                self.turn_readings[id(dialogues[number])] = readings
        self._calls.clear()


def statements(text: str, dialogue: Dialogue) -> list[str]:
    """The statements of a text about a dialogue, as they are verified."""
    return [span.text for span in split_statements(text, dialogue.language)]


def find_support(
    verifier: "Verifier", dialogues: Sequence[Dialogue], statements: Sequence[Sequence[str]]
) -> list[Support]:
    """The support of the different statements of each dialogue. What cannot be verified is logged with the reason."""
    questions = list[_Question]()
    reasons = Counter[str]()
    found: list[dict[str, float | None]] = []
    for number, (dialogue, of) in enumerate(zip(dialogues, statements, strict=True)):
        different = tuple(dict.fromkeys(of))
        parts = _parts(verifier, number, dialogue, different) if different else []
        asked = {text for part in parts for text in part.texts}
        reasons["too long for the model"] += len(different) - len(asked)
        found.append({text: 0.0 if text in asked else None for text in different})
        questions += parts
    for question, support in zip(questions, _verify(verifier, questions, reasons), strict=True):
        known = found[question.number]
        for text, value in zip(question.texts, support, strict=True):
            before = known[text]
            known[text] = None if value is None or before is None else max(before, value)
    for reason, count in reasons.items():
        if count:
            log(f"{counted(count, 'statement')} of the summaries could not be verified: {reason}")
    return list(found)


@dataclass(frozen=True, slots=True)
class _Question:
    """Statements that are asked of a dialogue, or of a part of it; `number` is the dialogue's place in the input."""

    number: int
    dialogue: Dialogue
    texts: tuple[str, ...]


def _parts(verifier: "Verifier", number: int, dialogue: Dialogue, texts: Sequence[str]) -> list[_Question]:
    """The statements that fit with the whole dialogue, and those that are asked of each of its chunks."""
    encode, layout = verifier.encode, verifier.layout
    most = verifier.engine.loaded.max_length - 1  # one token answers
    sizes = {text: len(encode(layout.verify_branch(dialogue, text))) for text in texts}
    room = most - len(encode(layout.prefix(dialogue)))
    whole = tuple(text for text in texts if sizes[text] <= room)
    rest = tuple(text for text in texts if room < sizes[text] <= _LONGEST_SHARE * most)
    longest = max((sizes[text] for text in rest), default=0)

    def part(chunk: Chunk) -> Dialogue:
        return dialogue.with_turns([span.turn for span in chunk])

    def fits(chunk: Chunk) -> bool:
        return len(encode(layout.prefix(part(chunk)))) + longest <= most

    chunks = (split_into_chunks(turn_spans(dialogue), fits) if rest else None) or []
    return [
        *([_Question(number, dialogue, whole)] if whole else []),
        *(_Question(number, part(chunk), rest) for chunk in chunks),
    ]


def _verify(
    verifier: "Verifier", questions: Sequence[_Question], reasons: Counter[str]
) -> list[Sequence[float | None]]:
    """The support of each question's statements. What fails is found by bisection, has None, and its reason is counted.

    The Verifier itself takes smaller groups where memory runs out.
    """
    if not questions:
        return []
    try:
        return list(verifier.verify_all([one.dialogue for one in questions], [one.texts for one in questions]))
    except _ERRORS as error:
        reason = error.problems[0].what
    if len(questions) == 1:
        reasons[reason] += len(questions[0].texts)
        return [[None] * len(questions[0].texts)]
    middle = len(questions) // 2
    return [*_verify(verifier, questions[:middle], reasons), *_verify(verifier, questions[middle:], reasons)]
