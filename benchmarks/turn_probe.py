"""Fits the probe that reads the turns of a dialogue (rolesum/generation/turn_probe.py) to what readers say of them.

    python benchmarks/turn_probe.py states --adapter NAME --out STATES [--labeled DIALOGUES LABELS]
    python benchmarks/turn_probe.py fit STATES [--labeled DIALOGUES LABELS] [--write ADAPTER]

Readers, language models that saw the dialogue alone, named for 540 training dialogues of rolesum-dialogues the turns
that say what the user's side wants, what each side says last, and what was taken back later:
benchmarks/results/reading/key-turns-*.jsonl, see key_turns.py. The 96 longer dialogues of benchmarks/long_chats.jsonl
came with such labels from their writers, language models too. --labeled adds dialogues of one's own.

`states` computes the hidden states of an adapter at the ends of their turns, and goes on where it was stopped. `fit`
prints how well the probabilities tell turns apart in dialogues left out of the fit (five folds), the longer ones apart
from the others, beside the features of a turn's place alone, and which turns a summary that is made of quotes alone
would have; --write puts the probe that is
fitted to all of them into an adapter's directory.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from key_turns import LANGUAGES, READING, SPLITS
from numpy.typing import NDArray
from reading import read_lines
from record import Job, print_rows
from safetensors.torch import load_file, save_file

from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Dialogue, RoleSummary, SummaryStatement
from rolesum.errors import DataError, RolesumError
from rolesum.formats import read_dialogues
from rolesum.generation.key_turns import TurnReading
from rolesum.generation.quoting import quote_doubtful
from rolesum.generation.turn_probe import NUM_FEATURES, TurnProbe, place_features
from rolesum.instructions import Segment
from rolesum.metrics.detection import auroc
from rolesum.models.adapter_metadata import adapter_directory
from rolesum.models.hidden_states import read_hidden_states
from rolesum.models.loading import load_model
from rolesum.roles import AGENT, OVERALL, USER

ALL = (OVERALL, USER, AGENT)

LONG_CHATS = (Path(__file__).parent / "long_chats.jsonl", READING / "key-turns-long-chats.jsonl")
LAYER = 18  # of 28; of 12 to 24, it told turns apart best
HEADINGS = {
    "en": "Which turns of the dialogue above say what was wanted, and how it ended?\n",
    "zh": "以上对话中，哪几句说明了诉求和最后的结果？\n",
}
FOLDS, SEED = 5, 1
STEPS, TOLERANCE = 25, 1e-4  # of Newton's method
RIDGE_FEATURE, RIDGE_HIDDEN = 1.0, 300.0
WHAT = ("matter", "end", "superseded")
# What a summary of quotes is measured by, and for which roles.
QUOTED = {"matter": ALL, "user_end": (OVERALL, USER), "agent_end": (OVERALL, AGENT), "superseded": ALL}

Vector = NDArray[np.float64]


@dataclass
class ReadDialogue:
    """A dialogue, what a reader says of its turns, and the inputs of the probe."""

    dialogue: Dialogue
    labels: dict[str, NDArray[np.bool_]]  # of WHAT and QUOTED
    inputs: Vector  # (turns, features and hidden)
    log_odds: dict[str, Vector] = field(default_factory=dict)  # from a fit without it

    @property
    def is_longer(self) -> bool:
        """Whether it is one of LONG_CHATS."""
        return self.dialogue.id.startswith("long-")

    @property
    def readings(self) -> list[TurnReading]:
        return [TurnReading(*(1 / (1 + np.exp(-of))).tolist()) for of in np.stack([self.log_odds[w] for w in WHAT], 1)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    states = commands.add_parser("states")
    states.add_argument("--adapter", required=True)
    states.add_argument("--out", type=Path, required=True)
    fits = commands.add_parser("fit")
    fits.add_argument("states", type=Path)
    fits.add_argument("--write", help="the adapter into whose directory the probe is written")
    for command in (states, fits):
        command.add_argument("--labeled", nargs=2, action="append", metavar=("DIALOGUES", "LABELS"), default=[])
    options = parser.parse_args(arguments)
    try:
        labeled = labeled_dialogues([(Path(dialogues), Path(labels)) for dialogues, labels in options.labeled])
        if options.command == "states":
            write_states(options.adapter, options.out, labeled)
        else:
            measure(read_states(options.states, labeled), options.write)
    except RolesumError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write_states(adapter: str, out: Path, labeled: Sequence[tuple[Dialogue, Job]]) -> None:
    """Write the hidden states (turns, hidden) of each labeled dialogue, a file each."""
    loaded = load_model(adapter=adapter)
    layout, encoder = loaded.layout(), loaded.encoder
    probe = TurnProbe(LAYER, HEADINGS, torch.empty(0), torch.empty(0))
    out.mkdir(parents=True, exist_ok=True)
    for dialogue, _ in labeled:
        if (file := out / f"{dialogue.id}.safetensors").is_file():
            continue
        ids, places = probe.encode(
            dialogue, lambda text: encoder.encode([Segment("instruction", text, continues=True)])
        )
        prefix = encoder.encode(layout.prefix(dialogue))
        hidden = read_hidden_states(loaded.language_model, [*prefix, *ids], LAYER)[len(prefix) :][places]
        save_file({"hidden": hidden.half().contiguous()}, file)


def labeled_dialogues(more: Sequence[tuple[Path, Path]]) -> list[tuple[Dialogue, Job]]:
    """The labeled dialogues, each with the line of its labels; `more` are files of dialogues and of their labels."""
    splits = [
        ([f"sample:dialogues-{language}-{split}" for split in SPLITS], READING / f"key-turns-{language}.jsonl")
        for language in LANGUAGES
    ]
    found = list[tuple[Dialogue, Job]]()
    for sources, labels in (*splits, *(([file], labels) for file, labels in (LONG_CHATS, *more))):
        dialogues = {one.id: one for source in sources for one in read_dialogues(source)}
        for number, line in enumerate(read_lines([labels]), 1):
            if line.get("dialogue") not in dialogues:
                raise DataError(f"line {number}: no dialogue {line.get('dialogue')!r} there", str(labels))
            found.append((dialogues[line["dialogue"]], line))
    return found


def read_states(folder: Path, labeled: Sequence[tuple[Dialogue, Job]]) -> list[ReadDialogue]:
    """The labeled dialogues whose hidden states are there."""
    found = []
    for dialogue, line in labeled:
        if not (file := folder / f"{dialogue.id}.safetensors").is_file():
            continue
        hidden = load_file(file)["hidden"].double().numpy()
        named = {
            "matter": line["user_matter"],
            "end": [*line["user_end"], *line["agent_end"]],
            **{what: line[what] for what in ("user_end", "agent_end", "superseded")},
        }
        turns = range(1, len(dialogue.turns) + 1)
        labels = {what: np.isin(turns, of) for what, of in named.items()}
        inputs = np.concatenate([np.array(place_features(DialogueIndex(dialogue))), hidden], axis=1)
        found.append(ReadDialogue(dialogue, labels, inputs))
    return found


def measure(read: Sequence[ReadDialogue], write: str | None) -> None:
    """Print what the fits give in left-out dialogues, and write the probe that is fitted to all dialogues."""
    longer = [one for one in read if one.is_longer]
    others = [one for one in read if not one.is_longer]
    groups = {name: of for name, of in (("other", others), ("longer", longer)) if of}
    rows = list[Job]()
    chosen = [quoted_row(name, "by place and shared words", of, lambda _: None) for name, of in groups.items()]
    for what, columns in (("place", NUM_FEATURES), ("place and hidden states", None)):
        fit_left_out(read, columns)
        rows += [auroc_row(name, what, of) for name, of in groups.items()]
        chosen += [quoted_row(name, f"probe of {what}", of, lambda one: one.readings) for name, of in groups.items()]
    if len(groups) > 1:
        fit_to(others, longer)
        without = "place and hidden states, fitted to the others"
        rows.append(auroc_row("longer", without, longer))
        chosen.append(quoted_row("longer", f"probe of {without}", longer, lambda one: one.readings))
    print_rows("turns told apart", rows)
    print_rows("summaries of quotes alone", chosen)
    if write:
        fitted = [fit([one.inputs for one in read], [one.labels[what] for one in read]) for what in WHAT]
        weights = torch.tensor(np.stack([of for of, _ in fitted]), dtype=torch.float32)
        bias = torch.tensor([of for _, of in fitted], dtype=torch.float32)
        TurnProbe(LAYER, HEADINGS, weights, bias).save(adapter_directory(write))


def auroc_row(group: str, name: str, read: Sequence[ReadDialogue]) -> Job:
    """How well the log-odds tell the turns of dialogues apart."""
    row = {"dialogues": group, "count": len(read), "turns": sum(len(one.inputs) for one in read), "AUROC, by": name}
    for what in WHAT:
        odds = np.concatenate([one.log_odds[what] for one in read])
        labels = np.concatenate([one.labels[what] for one in read])
        row[what] = f"{auroc(odds[labels], odds[~labels]):.3f}"
    return row


def fit_to(read: Sequence[ReadDialogue], measured: Sequence[ReadDialogue], columns: int | None = None) -> None:
    """Set the log-odds of the dialogues `measured` by a fit to those `read`, on the first columns of inputs."""
    for what in WHAT:
        weights, bias = fit([one.inputs[:, :columns] for one in read], [one.labels[what] for one in read])
        for one in measured:
            one.log_odds[what] = one.inputs[:, :columns] @ weights + bias


def fit_left_out(read: Sequence[ReadDialogue], columns: int | None) -> None:
    """Set the log-odds of each dialogue by a fit to the dialogues of other folds, on the first columns of inputs."""
    order = np.random.default_rng(SEED).permutation(sorted(one.dialogue.id for one in read))
    fold = {str(name): place % FOLDS for place, name in enumerate(order)}
    for number in range(FOLDS):
        left_out = [one for one in read if fold[one.dialogue.id] == number]
        fit_to([one for one in read if fold[one.dialogue.id] != number], left_out, columns)


def fit(inputs: Sequence[Vector], labels: Sequence[NDArray[np.bool_]]) -> tuple[Vector, float]:
    """The weights and the bias of a ridge logistic regression on standardized inputs, by Newton's method.

    The penalty is RIDGE_HIDDEN for hidden states, and RIDGE_FEATURE for the features before them.
    """
    x, y = np.concatenate(inputs), np.concatenate(labels).astype(np.float64)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    z = np.concatenate([(x - mean) / scale, np.ones((len(x), 1))], axis=1)
    ridge = np.full(z.shape[1], RIDGE_HIDDEN)
    ridge[:NUM_FEATURES], ridge[-1] = RIDGE_FEATURE, 0.0
    beta = np.zeros(z.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-z @ beta))
        step = np.linalg.solve((z.T * (p * (1 - p))) @ z + np.diag(ridge), z.T @ (p - y) + ridge * beta)
        beta -= step
        if np.abs(step).max() < TOLERANCE:
            break
    weights = beta[:-1] / scale
    return weights, float(beta[-1] - mean @ weights)


def quoted_row(
    group: str,
    name: str,
    read: Sequence[ReadDialogue],
    readings: Callable[[ReadDialogue], Sequence[TurnReading] | None],
) -> Job:
    """What summaries hold whose one sentence is doubtful, so that they are quotes alone."""
    held: dict[str, list[float]] = {}
    for one in read:
        for role in ALL:
            said = SummaryStatement(0, 3, "So.", support=0.0)
            summary = RoleSummary(one.dialogue.id, role, "So.", 1, "stop", statements=(said,), support_threshold=0.5)
            places = [quote.turn for quote in quote_doubtful(summary, one.dialogue, readings(one)).quotes]
            held.setdefault("quotes", []).append(len(places))
            for what, roles in QUOTED.items():
                if role in roles and (what == "superseded" or one.labels[what].any()):
                    held.setdefault(what, []).append(float(one.labels[what][places].any()))
    shown = {what: f"{np.mean(held[what]):.1%}" for what in QUOTED}
    return {"dialogues": group, "turns": name, "quotes": f"{np.mean(held['quotes']):.2f}", **shown}


if __name__ == "__main__":
    sys.exit(main())
