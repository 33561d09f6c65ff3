"""A recipe's data, made ready for training: read, bundled, encoded, and put in order."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rolesum import strict_json
from rolesum.counts import counted
from rolesum.dialogue import Bundle, Dialogue, make_bundle, make_pair_bundle
from rolesum.errors import DataError, Problem, UsageError
from rolesum.instructions import PromptLayout, load_instruction_set
from rolesum.models.prompt_model import PromptModel
from rolesum.recipe import DataFile, Recipe, TrainFile
from rolesum.roles import WHOLE_DIALOGUE
from rolesum.training.batching import (
    SampleBatch,
    Step,
    optimizer_steps,
    padding_share,
    split_to_budget,
    token_budget_batches,
)
from rolesum.training.encode import EncodedBundle, EncodedData, encode_bundles

Turns = tuple[tuple[str, str], ...]  # see Dialogue.normalized_turns


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on. `steps` holds the batches of every optimizer step, of all epochs."""

    dialogues: list[Dialogue]
    encoded: list[EncodedBundle]
    steps: list[Step]
    dropped_turns: int
    shortened: int
    left_out: int = 0  # dialogues without a summary for the roles
    overlapping: int = 0  # dialogues left out because they recur in a file of apart_from
    held_out: int = 0  # dialogues of data.train that are kept for validation, or of data.mix that recur there

    @property
    def lengths(self) -> list[int]:
        """The tokens of each bundle's row."""
        return [bundle.tokens for bundle in self.encoded]

    @property
    def batches(self) -> list[SampleBatch]:
        return [batch for step in self.steps for batch in step]

    @property
    def examples(self) -> int:
        """The number of examples of one epoch."""
        return sum(len(bundle.branches) for bundle in self.encoded)

    @property
    def tokens(self) -> int:
        """The tokens computed in one epoch, padding not counted."""
        return sum(self.lengths)

    @property
    def tokens_shared(self) -> int:
        """The tokens that shared prefixes save in one epoch: a run of single examples would compute them too."""
        return sum(len(bundle.prefix) * (len(bundle.branches) - 1) for bundle in self.encoded)

    @property
    def padding(self) -> float:
        """The share of the computed positions that are padding."""
        return padding_share(self.batches, self.lengths)

    def describe(self, packed: bool) -> str:
        """A line for the log; `packed` where a batch's rows are computed as one without padding."""
        padding = "rows packed, no padding" if packed else f"{self.padding:.1%} padding"
        return (
            f"{counted(len(self.dialogues), 'dialogue')}, {counted(self.examples, 'example')}, "
            f"{counted(self.tokens, 'token')} ({self.tokens_shared:,} more without shared prefixes), "
            f"{counted(len(self.batches), 'batch', 'batches')} ({padding}), {counted(len(self.steps), 'step')}"
        )


def read_training_data(recipe: Recipe, prompt_model: PromptModel) -> TrainingData:
    """Read and encode data.train and data.mix. Raises DataError with all that is wrong or does not fit."""
    options = recipe.training
    parts = _read_train_files(recipe)
    bundles = [bundle for part in parts for bundle in part.bundles]
    _check_roles(recipe, bundles)
    if recipe.verify:
        _check_statements(recipe, bundles)
    prompt_model.check_languages([bundle.dialogue for bundle in bundles])
    data = _encode_parts(recipe, prompt_model, [part.bundles for part in parts])
    repeats = [file.repeat for file in recipe.data.train_files]
    taken = [bundle for one, repeat in zip(data, repeats, strict=True) for bundle in one.bundles * repeat]
    encoded = split_to_budget(taken, options.tokens_per_batch, recipe.branches_together)
    lengths = [bundle.tokens for bundle in encoded]
    schedule = token_budget_batches(lengths, options.tokens_per_batch, seed=options.seed, epochs=options.epochs)
    return TrainingData(
        [one.dialogue for one in bundles],
        encoded,
        optimizer_steps(schedule, options.gradient_accumulation),
        sum(one.dropped_turns for one in data),
        sum(one.shortened for one in data),
        sum(part.left_out for part in parts),
        sum(part.overlapping for part in parts),
        sum(len(part.held_out) for part in parts),
    )


def read_validation_data(recipe: Recipe, prompt_model: PromptModel) -> TrainingData | None:
    """Read and encode data.validation, in batches of one epoch; None where the recipe names none."""
    file = recipe.data.validation
    if file is None:
        return None
    bundles, left_out = read_bundles(recipe, file) if file.share is None else (_read_train_files(recipe)[0].held_out, 0)
    data = encode(recipe, prompt_model, bundles)
    encoded = split_to_budget(data.bundles, recipe.training.tokens_per_batch, recipe.branches_together)
    lengths = [bundle.tokens for bundle in encoded]
    steps = optimizer_steps(token_budget_batches(lengths, recipe.training.tokens_per_batch, seed=0, epochs=1), 1)
    dialogues = [one.dialogue for one in bundles]
    return TrainingData(dialogues, encoded, steps, data.dropped_turns, data.shortened, left_out)


def data_notes(recipe: Recipe, data: TrainingData, validation: TrainingData | None) -> list[str]:
    """What of the files is not trained on, or not evaluated: a line each, with the names of the files."""
    files = ", ".join(file.path for file in recipe.data.train_files)
    notes = []
    if data.overlapping:
        found = counted(data.overlapping, "training dialogue")
        notes.append(f"{files}: found in the files of apart_from, and left out: {found}")
    if data.held_out:
        of = data.held_out + len(data.dialogues)
        notes.append(f"{files}: held out for validation: {data.held_out} of {counted(of, 'dialogue')}")
    held_out = recipe.data.validation.path if recipe.data.validation else ""
    for name, where, part in (("", files, data), ("validation ", held_out or files, validation)):
        if part and part.left_out:
            of = len(part.dialogues) + part.left_out
            share = f"{part.left_out} of {counted(of, f'{name}dialogue')}"
            notes.append(f"{where}: without {_targets(recipe)}, and left out: {share}")
        if part and part.shortened:
            many = f"{counted(part.shortened, f'{name}dialogue')} that did not fit"
            lost = ", whose statements are left out" if recipe.verify else ""
            notes.append(f"{where}: {counted(part.dropped_turns, 'turn')} dropped from the middle of {many}{lost}")
        if part and (unplayed := _unplayed_roles(recipe, part.dialogues)):
            many = counted(sum(bool(_unplayed_roles(recipe, [one])) for one in part.dialogues), f"{name}dialogue")
            fix = 'say who does: --speaker "LABEL=ROLE", or roles in the file'
            notes.append(f"{where}: no speaker plays {' or '.join(unplayed)} in {many} with its summary; {fix}")
    return notes


def _unplayed_roles(recipe: Recipe, dialogues: Sequence[Dialogue]) -> list[str]:
    """The roles to train that no speaker plays in a dialogue with their summary."""
    sections = recipe.section_set.sections if recipe.section_set else ()
    of_speakers = [role for role in recipe.roles if role not in (*WHOLE_DIALOGUE, *sections)]
    return [role for role in of_speakers if any(role in one.summaries and not one.speakers(role) for one in dialogues)]


def read_bundles(recipe: Recipe, file: DataFile) -> tuple[list[Bundle], int]:
    """The bundles of a data file, and how many dialogues have nothing for them: no summary, no pair, no statement.

    Raises DataError where none has.
    """
    dialogues = file.read(recipe.aliases)
    if recipe.preference:
        found = [make_pair_bundle(dialogue, recipe.roles) for dialogue in dialogues]
    else:
        found = [
            make_bundle(dialogue, recipe.roles, file.references, verify=recipe.verify is not None)
            for dialogue in dialogues
        ]
    bundles = [bundle for bundle in found if bundle is not None]
    if not bundles:
        has = sorted({role for dialogue in dialogues for role in _roles_with_targets(recipe, dialogue)}) or ["none"]
        if recipe.preference and has == ["none"]:
            fix = "make pairs, or leave preference out: see docs/training.md"
            raise DataError("no dialogue has pairs, on which a recipe with preference trains", file.path, fix)
        if recipe.verify and not recipe.roles:
            fix = "add statements, see docs/formats.md, or train on summaries: set roles, and leave verify out"
            raise DataError("no dialogue has statements, on which a recipe with verify trains", file.path, fix)
        what = f"no {_plural(recipe)} for the roles {', '.join(recipe.roles)}; the file has: {', '.join(has)}"
        fix = "set roles in the recipe to roles that the data has"
        if has == ["none"]:
            fix = "add summaries to its dialogues, or name a table's columns (summary.user): see docs/formats.md"
        raise DataError(what, file.path, fix)
    return bundles, len(dialogues) - len(bundles)


def _targets(recipe: Recipe) -> str:
    """What the recipe's runs are trained on, as what a dialogue may have none of."""
    if recipe.verify:
        return "a summary for these roles or a statement" if recipe.roles else "a statement"
    return f"a {'pair' if recipe.preference else 'summary'} for these roles"


def _plural(recipe: Recipe) -> str:
    return "pairs" if recipe.preference else "summaries"


def _roles_with_targets(recipe: Recipe, dialogue: Dialogue) -> set[str]:
    return {pair.role for pair in dialogue.pairs} if recipe.preference else set(dialogue.summaries)


@dataclass(frozen=True)
class _FileBundles:
    """The bundles of one file, and those that are held out; how many dialogues are left out: see TrainingData."""

    bundles: list[Bundle]
    held_out: list[Bundle]
    left_out: int
    overlapping: int


def _read_train_files(recipe: Recipe) -> list[_FileBundles]:
    """The bundles of data.train and data.mix, without the share of data.train that is held out for validation.

    Raises DataError where a file has none that is left.
    """
    share = recipe.data.validation.share if recipe.data.validation else None
    parts: list[_FileBundles] = []
    held_out = set[Turns]()
    for file in recipe.data.train_files:
        part = _read_train_file(recipe, file)
        if share is not None and not parts:  # the first file is data.train
            held_out = choose_held_out([one.dialogue.normalized_turns for one in part.bundles], share, file.path)
        kept = [one for one in part.bundles if one.dialogue.normalized_turns not in held_out]
        if not kept:
            raise DataError("all its dialogues recur in what is held out for validation", file.path, "leave it out")
        held = [one for one in part.bundles if one.dialogue.normalized_turns in held_out]
        parts.append(replace(part, bundles=kept, held_out=held))
    return parts


def choose_held_out(conversations: Sequence[Turns], share: float, path: str) -> set[Turns]:
    """About `share` of the different conversations: those whose hash, as a number from 0 to 1, lies below it.

    So each stays on its side when others are added to the file, and a conversation that recurs stands on one side. At
    least one is chosen and one is left. Raises DataError where the share is of less than one.
    """
    places = {one: _hash_place(one) for one in conversations}
    if share * len(places) < 1:
        what = f"data.validation.share: {share:g} of {counted(len(places), 'different dialogue')} is less than one"
        fix = "add dialogues, raise the share, or train without validation: --set data.validation=null"
        raise DataError(what, path, fix)
    ordered = sorted(places, key=lambda one: places[one])
    below = sum(place < share for place in places.values())
    return set(ordered[: min(max(below, 1), len(ordered) - 1)])


def _hash_place(conversation: Turns) -> float:
    """A number from 0 to 1 by the hash of a conversation's turns."""
    digest = hashlib.sha256(strict_json.dumps(conversation, ensure_ascii=False).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _read_train_file(recipe: Recipe, file: TrainFile) -> _FileBundles:
    """The bundles of a training file without the dialogues that recur in a file of its apart_from.

    Raises DataError where none is left.
    """
    bundles, left_out = read_bundles(recipe, file)
    seen = {dialogue.normalized_turns for apart in file.apart_files for dialogue in apart.read(recipe.aliases)}
    kept = [bundle for bundle in bundles if bundle.dialogue.normalized_turns not in seen]
    if not kept:
        what = f"all its dialogues recur in {' or '.join(file.apart_from)}"
        raise DataError(what, file.path, "train on other data, or leave out apart_from")
    return _FileBundles(kept, [], left_out, len(bundles) - len(kept))


def _encode_parts(recipe: Recipe, prompt_model: PromptModel, parts: list[list[Bundle]]) -> list[EncodedData]:
    """Each file's bundles, encoded. Raises DataError with what does not fit of all of them."""
    encoded: list[EncodedData] = []
    problems: list[Problem] = []
    for bundles in parts:
        try:
            encoded.append(encode(recipe, prompt_model, bundles))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return encoded


def _check_roles(recipe: Recipe, bundles: list[Bundle]) -> None:
    """Raise DataError for a role that the model would never see, though its adapter would name it."""
    has = {example.role for bundle in bundles for example in bundle.examples}
    if lost := [role for role in recipe.roles if role not in has]:
        fix = f"set roles in the recipe to those that the data has: --set roles=[{','.join(sorted(has))}]"
        files = ", ".join(file.path for file in recipe.data.train_files)
        raise DataError(f"no {_plural(recipe)} for {' or '.join(lost)}", files, fix)


def _check_statements(recipe: Recipe, bundles: list[Bundle]) -> None:
    """Raise DataError where the statements, all of one kind, teach nothing."""
    files = ", ".join(file.path for file in recipe.data.train_files)
    labels = {statement.supported for bundle in bundles for statement in bundle.statements}
    if not labels:
        fix = "add statements, see docs/formats.md, or leave verify out"
        raise DataError("no dialogue has statements, on which a recipe with verify trains", files, fix)
    if len(labels) == 1:
        what = f"all statements are {'true' if labels.pop() else 'false'}: the answer would not depend on the dialogue"
        raise DataError(what, files, "add statements of both kinds, or leave verify out")


def encode(
    recipe: Recipe, prompt_model: PromptModel, bundles: list[Bundle], max_length: int | None = None
) -> EncodedData:
    """The bundles' ids, as the recipe wants long dialogues and prefixes treated; `max_length` in place of its own."""
    options = recipe.training
    own = load_instruction_set(recipe.instructions) if recipe.instructions else None
    layout = prompt_model.layout(recipe.language, own, recipe.definitions, recipe.section_set)
    if recipe.preference:
        _check_pairs(recipe, prompt_model, layout, bundles)
    if recipe.verify and prompt_model.encoder_decoder_spec:
        what = f"statements are verified by causal models, and {recipe.base} is an encoder-decoder"
        raise UsageError(what, fix="use another base, or leave verify out")
    return encode_bundles(
        bundles,
        layout,
        prompt_model.encoder,
        max_length=max_length or min(options.max_length or prompt_model.max_length, prompt_model.max_length),
        target_length=prompt_model.encoder_decoder_spec.target_length if prompt_model.encoder_decoder_spec else None,
        context_length=prompt_model.max_length,
        long_dialogues=options.long_dialogues,
        share_prefix=options.share_prefix and prompt_model.shares_prefix,
        answer_weight=recipe.verify.weight if recipe.verify else 1.0,
    )


def _check_pairs(recipe: Recipe, prompt_model: PromptModel, layout: PromptLayout, bundles: list[Bundle]) -> None:
    """Raise UsageError for a base without shared prefixes, DataError with the roles of pairs that no speaker plays."""
    if not prompt_model.shares_prefix:
        what = f"preference tuning needs a base that shares a prefix, and {recipe.base} does not"
        raise UsageError(f"{what}: {prompt_model.unshared_reason}", fix="use another base, or leave preference out")
    problems = [
        Problem(
            f"a pair for {role}, but no speaker plays it (speakers: {', '.join(bundle.dialogue.speakers())})",
            bundle.dialogue.location,
            "say who plays it under roles, or remove the pair",
        )
        for bundle in bundles
        for role in dict.fromkeys(example.role for example in bundle.examples)
        if layout.needs_speaker(role) and not bundle.dialogue.speakers(role)
    ]
    if problems:
        raise DataError(problems)
