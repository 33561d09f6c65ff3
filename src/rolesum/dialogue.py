"""The data types: turns, dialogues, training examples, and the summaries of each role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# A text counts as Chinese when at least this share of its letters are Han characters: customer service chats mix in
# product names and URLs, while English text has none.
HAN_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance, the label of who spoke it, and the time of day or of the call where it is known (as written)."""

    speaker: str
    text: str
    time: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence about a dialogue, as a summary for `role` may have it, and whether the dialogue says so.

    `turns` are the places (from 0) of the turns that say it; `kind` names what is wrong with a false one.
    """

    text: str
    role: str
    supported: bool
    turns: tuple[int, ...] = ()
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two summaries for `role`, of which the chosen one is to be preferred: the rejected one says something false."""

    role: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The ordered turns, who of the speakers plays which role, and the reference summaries where there are any.

    `roles` maps a speaker's label to a role; `summaries` maps a role to its references (several annotators may have
    written one each); `statements` are sentences of which it is known whether the dialogue says them; `pairs` are for
    preference tuning. `source` says where the dialogue was read, for error messages.
    """

    id: str
    turns: tuple[Turn, ...]
    roles: Mapping[str, str] = field(default_factory=dict)
    summaries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    language: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    statements: tuple[Statement, ...] = ()
    pairs: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        if not self.language:
            object.__setattr__(self, "language", detect_language(" ".join(turn.text for turn in self.turns)))

    @property
    def location(self) -> str:
        """The source and the id, for error messages."""
        return f"{self.source}, dialogue {self.id}" if self.source else f"dialogue {self.id}"

    def speakers(self, role: str | None = None) -> tuple[str, ...]:
        """The speakers' labels in order of appearance; with `role`, only those who play it."""
        labels = dict.fromkeys(turn.speaker for turn in self.turns)
        return tuple(label for label in labels if role is None or self.roles.get(label) == role)

    @property
    def normalized_turns(self) -> tuple[tuple[str, str], ...]:
        """Speaker and text of every turn with normalized whitespace: equal for two records of one conversation."""
        return tuple((" ".join(turn.speaker.split()), " ".join(turn.text.split())) for turn in self.turns)

    def with_turns(self, turns: Sequence[Turn]) -> "Dialogue":
        """The dialogue with other turns, and without statements: theirs are the places of the former turns."""
        return replace(self, turns=tuple(turns), statements=())


@dataclass(frozen=True, slots=True)
class Example:
    """One dialogue, one role, one target summary."""

    dialogue: Dialogue
    role: str
    target: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """One dialogue with all its examples: the dialogue is the prefix that they share, each example is a branch.

    Each of the `statements` is a branch too, which asks whether the dialogue says it.
    """

    dialogue: Dialogue
    examples: tuple[Example, ...]
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a dialogue that was too long for the model a summary is based on."""

    strategy: str  # drop-middle, map-reduce or refine
    turns: int  # of the whole dialogue
    read: int  # turns that the model was shown
    chunks: int = 1


@dataclass(frozen=True, slots=True)
class SummaryStatement:
    """A statement of a summary, and whether its dialogue says it.

    Attributes:
        start: Where it begins in the summary's text, in characters. If it was left out, where it stood.
        end: Where it ends; the same as `start` if it was left out.
        text: What was verified: the statement as a sentence of its own, with the text before it where it has a pronoun.
        support: The probability, 0 to 1, that the dialogue says it; None where it could not be verified.
        turns: The places (from 0) of the turns that hold most of it, best first.
        flags: What the model-free checks find in it, each a short reason.
        times: When each of the `turns` was said, as `shown_times` has it; empty where the dialogue has no times.
    """

    start: int
    end: int
    text: str
    support: float | None = None
    turns: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()
    times: tuple[str, ...] = ()

    def is_under(self, threshold: float | None) -> bool:
        """Whether it is doubtful: it has a support, and that is under the threshold."""
        return self.support is not None and self.support < (threshold or 0.0)


@dataclass(frozen=True, slots=True)
class SummaryQuote:
    """Words of a turn that stand in a summary in place of doubtful statements.

    Attributes:
        start: Where it begins in the summary's text, in characters: with the speaker's label, unless it follows another
            quote of that speaker.
        end: Where the quote ends.
        turn: The place (from 0) of the turn.
        time: When it was said, as `shown_times` has it; empty where the dialogue has no times.
    """

    start: int
    end: int
    turn: int
    time: str = ""


@dataclass(frozen=True, slots=True)
class RoleSummary:
    """The summary that an engine wrote for one role of one dialogue.

    `coverage` is None if the model read the whole dialogue at once. `statements` are those of the text, in their order,
    and `dropped` those that were left out of it, with `quotes` in their place; a statement whose support is under
    `support_threshold` is doubtful. The threshold is None where nothing was verified. `token_logprobs` are the tokens
    as they were generated, each with its log-probability, from engines that give them.
    """

    dialogue_id: str
    role: str
    text: str
    tokens: int
    finish_reason: str  # "stop" where the model ended its text, "length" where the limit did
    mean_logprob: float | None = None
    lowest_logprob: float | None = None
    seconds: float = 0.0
    coverage: Coverage | None = None
    statements: tuple[SummaryStatement, ...] = ()
    dropped: tuple[SummaryStatement, ...] = ()
    support_threshold: float | None = None
    quotes: tuple[SummaryQuote, ...] = ()
    token_logprobs: tuple[tuple[int, float], ...] = field(default=(), repr=False)

    @property
    def doubtful(self) -> tuple[SummaryStatement, ...]:
        """The statements that the dialogue may not say: their support is under the threshold."""
        return tuple(one for one in self.statements if self.is_doubtful(one))

    def is_doubtful(self, statement: SummaryStatement) -> bool:
        """Whether a statement of this summary has a support under the threshold."""
        return statement.is_under(self.support_threshold)


@dataclass(frozen=True, slots=True)
class FieldValue:
    """One value of the fields that were extracted from a dialogue: a text, a number or a truth value.

    Attributes:
        path: Its place among the fields, as a JSON pointer: /promises/0/what.
        value: The value.
        statement: The sentence that was verified; empty for a value that is not verified.
        support: The probability, 0 to 1, that the dialogue says the statement; None where it was not verified.
        turns: The places (from 0) of the turns that share most of its words, best first; of a choice, such as solved,
            there are none.
    """

    path: str
    value: Any
    statement: str = ""
    support: float | None = None
    turns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtractedFields:
    """The fields that an engine filled in from one dialogue.

    `fields` fits the schema, or is None: then `problem` says why, such as that the limit of tokens cut the answer off.
    `values` are those of the fields, without null and empty texts. One whose support is under `support_threshold` is
    doubtful; the threshold is None where nothing was verified. `coverage` is None if the model read the whole dialogue.
    """

    dialogue_id: str
    fields: dict[str, Any] | None
    text: str
    tokens: int
    finish_reason: str  # "stop" where the model ended its answer, "length" where the limit did
    mean_logprob: float | None = None
    lowest_logprob: float | None = None
    seconds: float = 0.0
    coverage: Coverage | None = None
    problem: str = ""
    values: tuple[FieldValue, ...] = ()
    support_threshold: float | None = None

    @property
    def doubtful(self) -> tuple[FieldValue, ...]:
        """The values that the dialogue may not say: their support is under the threshold."""
        limit = self.support_threshold or 0.0
        return tuple(one for one in self.values if one.support is not None and one.support < limit)


def make_bundle(
    dialogue: Dialogue, roles: Sequence[str], references: str = "all", *, verify: bool = False
) -> Bundle | None:
    """Make the bundle of a dialogue's references for `roles`; None if the dialogue has none.

    `references` is "all" (one example per annotator) or "first". With `verify`, its statements are in it too.
    """
    examples = []
    for role in roles:
        targets = dialogue.summaries.get(role, ())
        examples += [Example(dialogue, role, target) for target in (targets[:1] if references == "first" else targets)]
    statements = dialogue.statements if verify else ()
    return Bundle(dialogue, tuple(examples), statements) if examples or statements else None


def make_pair_bundle(dialogue: Dialogue, roles: Sequence[str]) -> Bundle | None:
    """Make the bundle of a dialogue's pairs for `roles`: the chosen, then the rejected one; None without any."""
    examples = [
        Example(dialogue, pair.role, text)
        for role in roles
        for pair in dialogue.pairs
        if pair.role == role
        for text in (pair.chosen, pair.rejected)
    ]
    return Bundle(dialogue, tuple(examples)) if examples else None


def detect_language(text: str) -> str:
    """Return "zh" if at least HAN_SHARE of the letters are Han characters, else "en"."""
    letters = [character for character in text if character.isalpha()]
    han = sum("\u4e00" <= character <= "\u9fff" for character in letters)
    return "zh" if letters and han / len(letters) >= HAN_SHARE else "en"
