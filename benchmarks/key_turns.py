"""The weights by which turns are chosen to be quoted (rolesum/generation/key_turns.py), fitted to readers' choices.

    python benchmarks/key_turns.py

A reader, a language model that saw the dialogue alone, named for training dialogues of rolesum-dialogues the turns
(from 1) that a summary made of quotes should have: `user_matter`, what the user's side wants; `user_end`, what it
decides in the end; `agent_end`, the final answers of the agent's side; and `superseded`, the turns that would mislead,
as what they say was taken back later: benchmarks/results/reading/key-turns-*.jsonl. The statements for which the turns
stand are those of the default adapter's summaries (own-statements-*.jsonl). Prints the weights of a logistic
regression on the 180 dialogues that have such summaries, and in dialogues left out of the fit (five folds) how many of
the first turns by score a reader named, and how many mislead, beside the turns that share most words with the
statements.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reading import read_lines
from record import Job, print_rows

from rolesum.checks.index import DialogueIndex
from rolesum.formats import read_dialogues
from rolesum.generation.key_turns import turn_features
from rolesum.roles import AGENT, OVERALL, USER

READING = Path(__file__).parent / "results" / "reading"
LANGUAGES, SPLITS = ("en", "zh"), ("train", "validation")
FOLDS, SEED, RIDGE, STEPS = 5, 1, 1.0, 50
SHARE = 1  # the place of the share of n-grams among the features' values


@dataclass(frozen=True)
class Choice:
    """The turns that may be quoted for a role of a dialogue, and what a reader says of each."""

    dialogue: str
    features: NDArray[np.float64]  # (turns, values)
    named: NDArray[np.bool_]
    misleads: NDArray[np.bool_]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    choices = [one for language in LANGUAGES for one in read_choices(language)]
    print("weights:", ", ".join(f"{one:.2f}" for one in fit(choices)))
    print_rows("of the first turns by score, left-out dialogues", left_out_rows(choices))
    return 0


def read_choices(language: str) -> list[Choice]:
    """The choices of all read dialogues of a language, for each role that has statements."""
    dialogues = {one.id: one for split in SPLITS for one in read_dialogues(f"sample:dialogues-{language}-{split}")}
    statements: dict[tuple[str, str], dict[str, None]] = {}
    for line in read_lines([READING / f"own-statements-{language}.jsonl"]):
        statements.setdefault((line["dialogue"], line["role"]), {})[line["text"]] = None
    found = []
    for line in read_lines([READING / f"key-turns-{language}.jsonl"]):
        index = DialogueIndex(dialogues[line["dialogue"]])
        user, agent = {*line["user_matter"], *line["user_end"]}, {*line["agent_end"]}
        for role, named in ((OVERALL, user | agent), (USER, user), (AGENT, agent)):
            if said := list(statements.get((line["dialogue"], role), ())):
                places = sorted(index.turns_by_role.get(role, range(len(index.dialogue.turns))))
                features = np.array([one.values() for one in turn_features(index, places, said)])
                of = [np.array([place + 1 in turns for place in places]) for turns in (named, {*line["superseded"]})]
                found.append(Choice(line["dialogue"], features, *of))
    return found


def fit(choices: Sequence[Choice]) -> NDArray[np.float64]:
    """The weights of a ridge logistic regression, by Newton's method; a turn that misleads is none to be named."""
    x = np.concatenate([one.features for one in choices])
    y = np.concatenate([one.named & ~one.misleads for one in choices]).astype(np.float64)
    mean, scale = x.mean(0), x.std(0)
    mean[0], scale[0] = 0.0, 1.0  # the constant
    z, ridge, weights = (x - mean) / scale, RIDGE * np.eye(x.shape[1]), np.zeros(x.shape[1])
    ridge[0, 0] = 0.0
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-z @ weights))
        hessian = (z * (p * (1 - p))[:, None]).T @ z + ridge
        weights -= np.linalg.solve(hessian, z.T @ (p - y) + ridge @ weights)
    found = weights / scale
    found[0] -= (found[1:] * mean[1:]).sum()
    return np.asarray(found)


def left_out_rows(choices: Sequence[Choice]) -> list[Job]:
    """The share of the first one, two and three turns that a reader named, and of those that mislead."""
    order = np.random.default_rng(SEED).permutation(sorted({one.dialogue for one in choices}))
    fold = {str(name): place % FOLDS for place, name in enumerate(order)}
    scored: dict[str, list[tuple[Choice, NDArray[np.float64]]]] = {"by weights": [], "by shared words": []}
    for number in range(FOLDS):
        weights = fit([one for one in choices if fold[one.dialogue] != number])
        for one in (one for one in choices if fold[one.dialogue] == number):
            scored["by weights"].append((one, one.features @ weights))
            scored["by shared words"].append((one, one.features[:, SHARE]))
    rows = []
    for name, found in scored.items():
        for most in (1, 2, 3):
            first = [(one, np.argsort(-scores, kind="stable")[:most]) for one, scores in found]
            named, misleads = (
                np.concatenate([getattr(one, what)[places] for one, places in first]) for what in ("named", "misleads")
            )
            shares = {"named": f"{named.mean():.1%}", "mislead": f"{misleads.mean():.1%}"}
            rows.append({"turns": name, "first": most, "number": len(named), **shares})
    return rows


if __name__ == "__main__":
    sys.exit(main())
