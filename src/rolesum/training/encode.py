"""Encodes bundles to token ids and marks the tokens that carry loss; an example that is too long is an error."""

from collections.abc import Sequence
from dataclasses import dataclass

from rolesum.dialogue import Bundle, Dialogue
from rolesum.errors import DataError, Problem
from rolesum.instructions import PromptLayout
from rolesum.instructions.fit import drop_middle
from rolesum.models.segment_encoder import SegmentEncoder


@dataclass(frozen=True, slots=True)
class EncodedBranch:
    """One example after its prefix: the instruction, then the target. The last `targets` of `ids` carry loss.

    `reference` is the log-probability of its target by the reference model of preference tuning. `weight` is how much
    each of its targets counts in the loss. The branch of a statement has no role, and its target is the answer's token.
    """

    role: str
    ids: tuple[int, ...]
    targets: int
    reference: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class EncodedBundle:
    """One dialogue's shared prefix and its branches. `index` is its place in the data set."""

    id: str
    index: int
    prefix: tuple[int, ...]
    branches: tuple[EncodedBranch, ...]

    @property
    def tokens(self) -> int:
        """The length of its row: the prefix once, and every branch."""
        return len(self.prefix) + sum(len(branch.ids) for branch in self.branches)

    @property
    def longest_example(self) -> int:
        """The length of the longest of its examples, each as if it stood alone."""
        return len(self.prefix) + max(len(branch.ids) for branch in self.branches)

    def longest_row(self, together: int) -> int:
        """The length of the longest row that must be computed at once, of the prefix and `together` branches."""
        groups = range(0, len(self.branches), together)
        return len(self.prefix) + max(sum(len(one.ids) for one in self.branches[at : at + together]) for at in groups)

    @property
    def longest_source(self) -> int:
        """The most tokens that one of its examples has before its target."""
        return len(self.prefix) + max(len(branch.ids) - branch.targets for branch in self.branches)

    @property
    def longest_target(self) -> int:
        """The most target tokens of one of its examples."""
        return max(branch.targets for branch in self.branches)


@dataclass(frozen=True, slots=True)
class EncodedData:
    """The encoded bundles, and how many turns were dropped to make dialogues fit."""

    bundles: tuple[EncodedBundle, ...]
    dropped_turns: int = 0
    shortened: int = 0


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """The maximum tokens of an example; or, with `target`, of its source and of its target (encoder-decoders)."""

    length: int
    target: int | None = None

    def length_of(self, bundle: EncodedBundle) -> int:
        """The length that `length` limits: of the longest example, or of the longest source."""
        return bundle.longest_example if self.target is None else bundle.longest_source

    def fits(self, bundle: EncodedBundle) -> bool:
        """Whether every example of the bundle is within the limits."""
        return self.length_of(bundle) <= self.length and not self.target_too_long(bundle)

    def target_too_long(self, bundle: EncodedBundle) -> bool:
        """Whether a target does not fit, however short the dialogue."""
        if self.target is None:
            return bundle.longest_target >= self.length
        return bundle.longest_target > self.target


def encode_bundles(
    bundles: Sequence[Bundle],
    layout: PromptLayout,
    encoder: SegmentEncoder,
    *,
    max_length: int,
    target_length: int | None = None,
    context_length: int | None = None,
    long_dialogues: str = "refuse",
    share_prefix: bool = True,
    answer_weight: float = 1.0,
) -> EncodedData:
    """Encode bundles; without `share_prefix` every example becomes a bundle of its own.

    `max_length` is the maximum number of tokens of one example, `context_length` the model's own maximum. With a
    `target_length`, as encoder-decoders have it, both are for the source alone, and it is for the target.
    `long_dialogues` is "refuse" or "drop-middle": then a shortened dialogue loses its statements, which were true or
    false of the whole. `answer_weight` is how much a statement's answer counts in the loss. Raises DataError with all
    the dialogues that do not fit, ModelError where the answers are not single tokens.
    """
    limits = LengthLimits(max_length, target_length)
    encoded: list[EncodedBundle] = []
    problems: list[Problem] = []
    dropped_turns = shortened = 0
    for bundle in bundles:
        result = _encode(bundle, layout, encoder, len(encoded), answer_weight)
        if not limits.fits(result):
            shortens = long_dialogues == "drop-middle"
            cut = _shorten(bundle, layout, encoder, limits) if shortens and bundle.examples else None
            if cut is None:
                may_shorten = not shortens and bool(bundle.examples)
                problems.append(_too_long(bundle.dialogue, result, limits, context_length, may_shorten))
                continue
            dialogue, dropped = cut
            result = _encode(Bundle(dialogue, bundle.examples), layout, encoder, len(encoded))
            dropped_turns, shortened = dropped_turns + dropped, shortened + 1
        encoded += [result] if share_prefix else _alone(result, len(encoded))
    if problems:
        raise DataError(problems)
    return EncodedData(tuple(encoded), dropped_turns, shortened)


def _encode(
    bundle: Bundle, layout: PromptLayout, encoder: SegmentEncoder, index: int, answer_weight: float = 1.0
) -> EncodedBundle:
    branches = []
    for example in bundle.examples:
        asked = encoder.encode(layout.branch(bundle.dialogue, example.role))
        target = encoder.encode(layout.target(example))
        branches.append(EncodedBranch(example.role, (*asked, *target), len(target)))
    if bundle.statements:
        said, not_said = encoder.answer_ids(layout.instruction_set_for(bundle.dialogue).answer_pairs)
        for statement in bundle.statements:
            question = encoder.encode(layout.verify_branch(bundle.dialogue, statement.text))
            answer = said if statement.supported else not_said
            branches.append(EncodedBranch("", (*question, answer), 1, weight=answer_weight))
    prefix = encoder.encode(layout.prefix(bundle.dialogue))
    return EncodedBundle(bundle.dialogue.id, index, tuple(prefix), tuple(branches))


def _alone(bundle: EncodedBundle, index: int) -> list[EncodedBundle]:
    return [
        EncodedBundle(bundle.id, index + offset, bundle.prefix, (branch,))
        for offset, branch in enumerate(bundle.branches)
    ]


def _shorten(
    bundle: Bundle, layout: PromptLayout, encoder: SegmentEncoder, limits: LengthLimits
) -> tuple[Dialogue, int] | None:
    def fits(dialogue: Dialogue) -> bool:
        return limits.fits(_encode(Bundle(dialogue, bundle.examples), layout, encoder, 0))

    return drop_middle(bundle.dialogue, fits)


def _too_long(
    dialogue: Dialogue, encoded: EncodedBundle, limits: LengthLimits, context_length: int | None, may_shorten: bool
) -> Problem:
    longest, counted = encoded.longest_target, limits.length_of(encoded)
    if limits.target is None:
        parts = f"dialogue {len(encoded.prefix)}, target up to {longest}"
        what = f"{counted} tokens ({parts}); the limit is {limits.length}"
    else:
        what = f"{counted} tokens to read, target up to {longest}; the limits are {limits.length} and {limits.target}"
    hopeless = limits.target_too_long(encoded)
    if hopeless and limits.target is not None:
        return Problem(what, dialogue.location, "the target alone does not fit: shorten it, or skip the id")
    might_help = context_length is None or counted <= context_length
    ways = ["raise training.max_length" if might_help else "take a model that reads more"]
    if may_shorten and not hopeless:
        ways.append("set training.long_dialogues: drop-middle")
    alone = "the target alone does not fit: " if hopeless else ""
    return Problem(what, dialogue.location, f"{alone}{', '.join(ways)}, or skip the id")
