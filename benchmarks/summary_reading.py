"""A blind reading of systems' summaries: sheets, the readers' answers, and what they say of each system.

    python benchmarks/summary_reading.py sheets --data sample:dialogues-en-test --out DIR NAME=RUN...
    python benchmarks/summary_reading.py collect ANSWERS --keys DIR/keys --reader NAME > NAME.jsonl
    python benchmarks/summary_reading.py report NAME.jsonl...
    python benchmarks/summary_reading.py support NAME=RUN... --readers NAME.jsonl...
    python benchmarks/summary_reading.py labels NAME=RUN... --data FILE --readers NAME.jsonl... > labels.jsonl

RUN is an evaluation's directory or its predictions.jsonl. `--data` and a system's NAME may be given once more for
another language. `support` says how well a model that verified its own summaries marks what the readers call untrue.
DIR/sheets is for the readers, DIR/keys is not. `labels` writes a file for `rolesum evaluate
--labels`. The protocol, with the labels of sentences: docs/reading.md.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dialogue_rules import ROLES
from numpy.typing import NDArray
from reading import agreement, collect_answers, dialogue_lines, label_pairs, read_lines, write_key
from record import Job, print_rows

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.checks.sentences import split_sentences
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, RolesumError, UsageError
from rolesum.evaluation.predictions import Prediction, read_predictions
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.metrics.bootstrap import bootstrap_intervals, ratio
from rolesum.metrics.detection import auroc

DIALOGUES, PARTS, SEED = 40, 4, 1
REFERENCE = "reference"  # the system that --with-reference adds
ALL_ROLES = "all"
SENTENCE = "sentence"
TRUE = "true"
THRESHOLDS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SENTENCE_LABELS = (TRUE, "false", "not said", "misleading")
QUESTIONS = {
    "matter": "Holds the matter?",
    "outcome": "Holds the outcome?",
    "amounts": "Holds the amounts, dates and conditions?",
}
YES, NONE = "yes", "none"
QUESTION_LABELS = (YES, "no", NONE)
HOW_TO = """\
Answer each number on a line of its own in a file with this sheet's name and the ending .answers.
A sentence: true; or false, not said or misleading, with the reason: `12 true`, `13 false: the fee was 20, not 30`.
A question: yes, no, or none where a summary for this role has none to hold: `15 yes`, `16 no`, `17 none`.
What the labels mean is said in docs/reading.md.
"""

Systems = Mapping[str, Mapping[tuple[str, str], Prediction]]  # name -> (dialogue id, role) -> prediction
Summary = tuple[str, ...]  # dialogue, role, and the systems that wrote it


@dataclass(frozen=True)
class Item:
    """What a reader answers: a sentence of a summary, or a question about it.

    `systems` are all that wrote this summary; `sentences` is how many different ones it has.
    """

    language: str
    dialogue: str
    role: str
    systems: tuple[str, ...]
    sentences: int
    asked: str  # SENTENCE, or a key of QUESTIONS
    text: str = ""
    count: int = 1  # how often the sentence stands in the summary


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        if options.what == "sheets":
            write_sheets(options)
        elif options.what == "collect":
            return collect_answers(
                options.answers, options.keys, options.reader, (*SENTENCE_LABELS, *QUESTION_LABELS), answer_fault
            )
        elif options.what == "labels":
            write_labels(options)
        elif options.what == "support":
            for title, rows in support_rows(_read_systems(options.systems), read_lines(options.readers)).items():
                print_rows(title, rows)
        else:
            lines = read_lines(options.files)
            print_rows("share of summaries, with 95 % intervals over dialogues", share_rows(lines))
            print_rows("agreement of two readers", agreement_rows(lines))
    except RolesumError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write_sheets(options: argparse.Namespace) -> None:
    """Write the sheets of each language into `sheets`, and their keys, which tell the systems, into `keys`.

    Raises UsageError where there are sheets, DataError for summaries that are missing or of other references.
    """
    if (options.out / "keys").exists():
        raise UsageError(
            "there are sheets already", str(options.out), "answers belong to their keys: name another --out"
        )
    by_language = _read_data(options.data)
    systems = _read_systems(options.systems)
    drawn = {
        language: random.Random(f"{options.seed} {language}").sample(found, min(options.dialogues, len(found)))
        for language, found in by_language.items()
    }
    if problems := list(_problems(drawn, systems, options.roles)):
        raise DataError(problems)
    for folder in ("sheets", "keys"):
        (options.out / folder).mkdir(parents=True)
    for language, dialogues in drawn.items():
        for part in range(min(options.parts, len(dialogues))):
            name = f"{language}-{part + 1}"
            _write_sheet(options, name, dialogues[part :: options.parts], systems)


def _write_sheet(options: argparse.Namespace, name: str, dialogues: Sequence[Dialogue], systems: Systems) -> None:
    lines, items, summaries = [HOW_TO], list[Item](), 0
    for dialogue in dialogues:
        lines += dialogue_lines(dialogue)
        for role in _roles_of(dialogue, options.roles):
            written = _texts(dialogue, role, systems, options.with_reference)
            random.Random(f"{options.seed} {dialogue.id} {role}").shuffle(written)
            summaries += len(written)
            for place, (sentences, of_systems) in enumerate(written, 1):
                lines += ["", f"-- {role}: summary {place} of {len(written)}"]
                for item in _items(dialogue, role, sentences, of_systems):
                    items.append(item)
                    lines.append(f"{len(items)}. {_shown(item)}")
        lines.append("")
    atomic_write_text(options.out / "sheets" / f"{name}.txt", "\n".join(lines))
    write_key(options.out / "keys" / f"{name}.key", (vars(item) for item in items))
    read, texts = counted(len(dialogues), "dialogue"), counted(summaries, "summary", "summaries")
    print(f"{name}.txt: {read}, {texts}, {counted(len(items), 'answer')}")


def _texts(
    dialogue: Dialogue, role: str, systems: Systems, with_reference: bool
) -> list[tuple[list[str], tuple[str, ...]]]:
    """The sentences of the different summaries for one role, each with the systems that wrote it."""
    written = {
        name: of_system[dialogue.id, role] for name, of_system in systems.items() if (dialogue.id, role) in of_system
    }
    if with_reference:
        reference = dialogue.summaries[role]
        written[REFERENCE] = Prediction(dialogue.id, role, reference[0], tuple(reference))
    by_text: dict[str, tuple[str, ...]] = {}
    sentences = {}
    for name, one in sorted(written.items()):
        text = one.prediction.strip()
        by_text[text] = (*by_text.get(text, ()), name)
        sentences[text] = read_sentences(one, dialogue.language)
    return [(sentences[text], names) for text, names in by_text.items()]


def read_sentences(prediction: Prediction, language: str) -> list[str]:
    """The sentences of a summary; what it quotes of the dialogue in one piece is one."""
    found, end = list[str](), 0
    text = prediction.prediction
    for start, stop in (*((one.start, one.end) for one in prediction.quotes), (len(text), len(text))):
        found += [one.text for one in split_sentences(text[end:start], language)]
        if stop > start:
            found.append(text[start:stop])
        end = stop
    return found


def _items(dialogue: Dialogue, role: str, said: Sequence[str], systems: tuple[str, ...]) -> Iterator[Item]:
    sentences = Counter(said)
    about = (dialogue.language, dialogue.id, role, systems, len(sentences))
    for sentence, count in sentences.items():
        yield Item(*about, SENTENCE, sentence, count)
    for question in QUESTIONS:
        yield Item(*about, question)


def _shown(item: Item) -> str:
    if item.asked == SENTENCE:
        return item.text + (f" (stands {item.count} times)" if item.count > 1 else "")
    empty = "(The summary is empty.) " if not item.sentences else ""
    return empty + QUESTIONS[item.asked]


def _read_data(names: Sequence[str]) -> dict[str, list[Dialogue]]:
    """The dialogues of all data by language. Raises DataError where two have one id."""
    dialogues = [one for name in names for one in read_dialogues(name)]
    counts = Counter(one.id for one in dialogues)
    if twice := [one for one in dialogues if counts[one.id] > 1]:
        raise DataError(
            [Problem("the id stands twice", one.location, "give data with ids of their own") for one in twice]
        )
    by_language: dict[str, list[Dialogue]] = {}
    for one in dialogues:
        by_language.setdefault(one.language, []).append(one)
    return by_language


def _read_systems(named: Sequence[str]) -> Systems:
    """The predictions of each NAME=RUN. Raises UsageError, DataError."""
    systems: dict[str, dict[tuple[str, str], Prediction]] = {}
    for one in named:
        name, _, path = one.partition("=")
        if not name or not path or name == REFERENCE:
            raise UsageError(f"not a system: {one!r}", fix=f"write NAME=RUN, and another name than {REFERENCE!r}")
        file = Path(path) / "predictions.jsonl" if Path(path).is_dir() else Path(path)
        known = systems.setdefault(name, {})
        for prediction in read_predictions(file):
            if (prediction.id, prediction.role) in known:
                what = f"{name} has two summaries of dialogue {prediction.id} for {prediction.role}"
                raise DataError(what, str(file), "give each system a name of its own")
            known[prediction.id, prediction.role] = prediction
    return systems


def _problems(drawn: Mapping[str, Sequence[Dialogue]], systems: Systems, roles: Sequence[str]) -> Iterator[Problem]:
    """What keeps the systems from being read side by side: a summary that is missing, or of another data set.

    A system without any summary of a language's drawn dialogues is not read in that language.
    """
    read = set()
    for dialogues in drawn.values():
        wanted = [(one, role) for one in dialogues for role in _roles_of(one, roles)]
        for name, of_system in systems.items():
            if not any((one.id, role) in of_system for one, role in wanted):
                continue
            read.add(name)
            for one, role in wanted:
                found = of_system.get((one.id, role))
                if found is None:
                    yield Problem(
                        f"{name} has no summary for {role}", one.location, "evaluate it on the whole data set"
                    )
                elif found.references != tuple(one.summaries[role]):
                    what = f"{name} was evaluated with other references for {role}"
                    yield Problem(what, one.location, "evaluate it again on this data")
    for name in systems.keys() - read:
        yield Problem(f"{name} has no summary of the dialogues drawn", fix="name its data with --data")


def _roles_of(dialogue: Dialogue, roles: Sequence[str]) -> list[str]:
    return [role for role in roles if dialogue.summaries.get(role)]


def answer_fault(item: Job, label: str, note: str) -> str:
    """What is wrong with an answer, empty if nothing; a sentence that is not true needs its reason."""
    if label not in (SENTENCE_LABELS if item["asked"] == SENTENCE else QUESTION_LABELS):
        return f"the label {label!r} does not fit the {'sentence' if item['asked'] == SENTENCE else 'question'}"
    return "no reason" if label in SENTENCE_LABELS[1:] and not note else ""


@dataclass(frozen=True)
class Judgment:
    """What one reader found in one summary: the label of each different sentence, the answer to each question."""

    sentences: dict[str, str]
    answers: dict[str, str]

    @property
    def without_false(self) -> bool:
        """Whether all sentences are true and there is one at least: an empty summary says nothing."""
        return bool(self.sentences) and all(label == TRUE for label in self.sentences.values())


def read_judgments(lines: Sequence[Job]) -> dict[tuple[str, str], dict[Summary, Judgment]]:
    """(language, reader) -> summary -> judgment. Raises DataError for summaries that were read in part."""
    judgments: dict[tuple[str, str], dict[Summary, Judgment]] = {}
    wanted: dict[tuple[str, Summary], int] = {}
    for line in lines:
        summary = (line["dialogue"], line["role"], *line["systems"])
        of_reader = judgments.setdefault((line["language"], line["reader"]), {})
        judgment = of_reader.setdefault(summary, Judgment({}, {}))
        is_sentence = line["asked"] == SENTENCE
        answers, item = (judgment.sentences, line["text"]) if is_sentence else (judgment.answers, line["asked"])
        if item in answers:
            raise DataError(f"two answers of reader {line['reader']} to {item!r}", line["dialogue"], "remove one")
        answers[item] = line["label"]
        wanted[line["reader"], summary] = line["sentences"]
    problems = [
        Problem(
            f"reader {reader} answered the summary of {', '.join(summary[2:])} for {summary[1]} in part", summary[0]
        )
        for (_, reader), of_reader in judgments.items()
        for summary, one in of_reader.items()
        if len(one.sentences) != wanted[reader, summary] or one.answers.keys() != QUESTIONS.keys()
    ]
    if problems:
        raise DataError(problems)
    return judgments


def write_labels(options: argparse.Namespace) -> None:
    """Print a line for each summary of the systems on which all its readers agree: wrong, or without a false sentence.

    Raises DataError for a summary that is not in the systems' files.
    """
    dialogues = {one.id: one for of in _read_data(options.data).values() for one in of}
    systems = _read_systems(options.systems)
    found: dict[Summary, list[bool]] = {}
    for of_reader in read_judgments([line for file in options.readers for line in read_lines([file])]).values():
        for summary, judgment in of_reader.items():
            found.setdefault(summary, []).append(not judgment.without_false)
    disputed = 0
    for (dialogue, role, *written_by), wrong in found.items():
        for system in (name for name in written_by if name in systems):
            if (prediction := systems[system].get((dialogue, role))) is None or dialogue not in dialogues:
                fix = "name the data and the runs of the sheets"
                raise DataError(f"no summary of {system} for {role}", dialogue, fix)
            if len(set(wrong)) > 1:
                disputed += 1
                continue
            shown = json.loads(to_json(dialogues[dialogue]))
            about = {"id": f"{dialogue}-{role}-{system}", "turns": shown["turns"], "roles": shown["roles"]}
            label = {"summary": prediction.prediction, "role": role, "system": system, "error": int(wrong[0])}
            print(strict_json.dumps(about | label, ensure_ascii=False))
    print(f"left out: {counted(disputed, 'summary', 'summaries')} on which the readers do not agree", file=sys.stderr)


def support_rows(systems: Systems, lines: Sequence[Job]) -> dict[str, list[Job]]:
    """For each system and language: what a threshold of support marks of the sentences on which all readers agree.

    A sentence's support is the lowest of its statements'. Raises DataError for a summary without verified statements.
    """
    labels: dict[tuple[str, str], dict[tuple[str, str, str], set[bool]]] = {}
    for line in lines:
        for system in (name for name in line["systems"] if name in systems and line["asked"] == SENTENCE):
            of = labels.setdefault((system, line["language"]), {})
            of.setdefault((line["dialogue"], line["role"], line["text"]), set()).add(line["label"] == TRUE)
    found = {}
    for (system, language), sentences in labels.items():
        agreed = {key: one for key, of in sentences.items() if len(of) == 1 for one in of}
        support = np.array([_support(systems[system], *key) for key in agreed])
        is_true = np.array(list(agreed.values()))
        summaries = np.unique([f"{dialogue} {role}" for dialogue, role, _ in agreed], return_inverse=True)[1]
        title = f"{system}, {language}: {is_true.sum()} true and {(~is_true).sum()} other sentences"
        title += f", AUROC {auroc(support[is_true], support[~is_true]):.3f}"
        found[title] = [
            {
                "threshold": threshold,
                "marked of the true": f"{100 * (support[is_true] < threshold).mean():.1f} %",
                "marked of the others": f"{100 * (support[~is_true] < threshold).mean():.1f} %",
                "true of the unmarked": f"{100 * is_true[support >= threshold].mean():.1f} %",
                **_without_marked(support >= threshold, is_true, summaries),
            }
            for threshold in THRESHOLDS
        ]
    return found


def _without_marked(kept: NDArray[np.bool_], is_true: NDArray[np.bool_], summaries: NDArray[np.int64]) -> Job:
    """How many summaries keep a sentence when those marked are left out, and how many of these are all true."""
    left = np.unique(summaries[kept])
    wrong = np.unique(summaries[kept & ~is_true])
    return {
        "summaries left": f"{100 * len(left) / (summaries.max() + 1):.1f} %",
        "of these without false": f"{100 * (1 - len(wrong) / max(1, len(left))):.1f} %",
    }


def _support(system: Mapping[tuple[str, str], Prediction], dialogue: str, role: str, sentence: str) -> float:
    prediction = system.get((dialogue, role))
    if prediction is None or prediction.support_threshold is None:
        raise DataError(f"no verified summary for {role}", dialogue, "name the run that was read, with its statements")
    start = prediction.prediction.find(sentence)
    end = start + len(sentence)
    own = [one.support or 0.0 for one in prediction.statements if one.start < end and one.end > start >= 0]
    return min(own, default=0.0)


def share_rows(lines: Sequence[Job]) -> list[Job]:
    """For each language, role and system: the shares of its summaries, over all readers' judgments.

    Of a question, `none` counts neither for nor against.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, Judgment]]] = {}
    for (language, _), of_reader in read_judgments(lines).items():
        for (dialogue, role, *systems), judgment in of_reader.items():
            for system in systems:
                for of_role in (ALL_ROLES, role):
                    groups.setdefault((language, of_role, system), []).append((dialogue, judgment))
    order = [ALL_ROLES, *ROLES]
    ranked = sorted(groups, key=lambda one: (one[0], order.index(one[1]) if one[1] in order else len(order), *one[1:]))
    return [
        {"language": language, "role": role, "system": system, **_shares(groups[language, role, system])}
        for language, role, system in ranked
    ]


def _shares(judgments: Sequence[tuple[str, Judgment]]) -> Job:
    """The shares of one system's summaries with their intervals; judgments of one dialogue stay together."""
    dialogues = list(dict.fromkeys(dialogue for dialogue, _ in judgments))
    statistics = {}
    for name in ("without false", *QUESTIONS):
        hits, cases = dict.fromkeys(dialogues, 0), dict.fromkeys(dialogues, 0)
        for dialogue, one in judgments:
            hits[dialogue] += one.without_false if name not in QUESTIONS else one.answers[name] == YES
            cases[dialogue] += name not in QUESTIONS or one.answers[name] != NONE
        statistics[name] = ratio(list(hits.values()), list(cases.values()))
    shown: Job = {"dialogues": len(dialogues), "judgments": len(judgments)}
    for name, interval in bootstrap_intervals(statistics).items():
        spread = f" ({interval[0]:.0f}–{interval[1]:.0f})" if interval else ""
        shown[name] = f"{statistics[name].value:.1f} %{spread}" if interval else "none to hold"
    return shown


def agreement_rows(lines: Sequence[Job]) -> list[Job]:
    """For each language: how far two readers agree on sentences, on whole summaries and on each question."""
    judgments = read_judgments(lines)
    rows = []
    for language in dict.fromkeys(language for language, _ in judgments):
        by_reader = {reader: of_reader for (of, reader), of_reader in judgments.items() if of == language}
        for about, labels in _labels(by_reader).items():
            if pairs := list(label_pairs(labels)):
                rows.append({"language": language, "about": about, **agreement(pairs)})
    return rows


def _labels(by_reader: Mapping[str, Mapping[Summary, Judgment]]) -> dict[str, dict[str, dict[Summary, str]]]:
    """What is compared -> reader -> item -> label."""
    found: dict[str, dict[str, dict[Summary, str]]] = {}
    for reader, of_reader in by_reader.items():
        for summary, one in of_reader.items():
            for text, label in one.sentences.items():
                for about, compared in (
                    ("sentence: true or not", str(label == TRUE)),
                    ("sentence: four labels", label),
                ):
                    found.setdefault(about, {}).setdefault(reader, {})[*summary, text] = compared
            for about, label in {"without false": str(one.without_false), **one.answers}.items():
                found.setdefault(about, {}).setdefault(reader, {})[summary] = label
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    sheets = commands.add_parser("sheets", help="write sheets and keys")
    sheets.add_argument("systems", nargs="+", metavar="NAME=RUN", help="an evaluation's directory or predictions.jsonl")
    sheets.add_argument("--data", action="append", required=True, help="dialogues that were evaluated; repeat for more")
    sheets.add_argument("--out", type=Path, required=True, help="directory")
    sheets.add_argument("--dialogues", type=int, default=DIALOGUES, help="dialogues drawn of each language")
    sheets.add_argument("--roles", type=lambda text: text.split(","), default=list(ROLES), help="separated by commas")
    sheets.add_argument("--parts", type=int, default=PARTS, help="sheets of each language")
    sheets.add_argument("--with-reference", action="store_true", help="the first reference is read as one more system")
    sheets.add_argument("--seed", type=int, default=SEED, help="of the dialogues drawn and of the order")
    collected = commands.add_parser("collect", help="answers as lines of JSON")
    collected.add_argument("answers", type=Path, help="directory of a reader's .answers files")
    collected.add_argument("--keys", type=Path, required=True, help="directory that `sheets` wrote")
    collected.add_argument("--reader", required=True, help="a name for who read")
    support = commands.add_parser("support", help="what a threshold of support marks of a system's own sentences")
    support.add_argument("--readers", nargs="+", type=Path, required=True, help="what `collect` printed of each")
    support.add_argument("systems", nargs="+", metavar="NAME=RUN", help="runs whose statements were verified")
    labels = commands.add_parser("labels", help="the summaries that are wrong, for rolesum evaluate --labels")
    labels.add_argument(
        "--readers", nargs="+", type=Path, required=True, help="what `collect` printed, for each reader"
    )
    labels.add_argument("--data", action="append", required=True, help="dialogues of the sheets; repeat for more")
    labels.add_argument("systems", nargs="+", metavar="NAME=RUN", help="the systems to write labels of")
    report = commands.add_parser("report", help="shares by system, and the agreement of the readers")
    report.add_argument("files", nargs="+", type=Path, help="what `collect` printed, for each reader")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
