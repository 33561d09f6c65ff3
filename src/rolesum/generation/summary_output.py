"""Summaries as the commands write them: a block of text for each role, or a JSON record or row for each dialogue."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rolesum import strict_json
from rolesum.dialogue import ExtractedFields, RoleSummary
from rolesum.formats.summary_fields import summary_field
from rolesum.generation.statement_notes import marked_text, statement_notes, statement_records

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")  # of files with a line of JSON for each dialogue
TABLE_DELIMITERS = {".csv": ",", ".tsv": "\t"}  # ending of a file with a row for each dialogue -> its delimiter


def format_blocks(summaries: Sequence[Sequence[RoleSummary]], *, styled: bool = False) -> str:
    """One block per role, each headed by its role; several dialogues are headed by their ids.

    Doubtful statements are marked, and dim where the text is `styled` for a terminal.
    """
    blocks = []
    for of_dialogue in summaries:
        if len(summaries) > 1:
            blocks.append(f"# {of_dialogue[0].dialogue_id}")
        blocks += [
            f"{block_heading(one.role)}{marked_text(one, styled=styled)}{block_notes(one)}" for one in of_dialogue
        ]
    return "\n\n".join(blocks) + "\n"


def block_heading(role: str) -> str:
    return f"[{role}]\n"


def block_notes(summary: RoleSummary, *, quoted: bool = False) -> str:
    """The notes after a text: that the limit cut it off, how much was read, what the dialogue may not say.

    `quoted` is for a text that was shown without marks: its doubtful statements are named.
    """
    notes = " […cut by --max-new-tokens]" if summary.finish_reason == "length" else ""
    if (seen := summary.coverage) is not None:
        chunks = f", {seen.chunks} chunks" if seen.chunks > 1 else ""
        notes += f"\n({seen.strategy}: {seen.read} of {seen.turns} turns read{chunks})"
    return notes + "".join(f"\n{note}" for note in statement_notes(summary, quoted=quoted))


def format_json_lines(summaries: Sequence[Sequence[RoleSummary]]) -> str:
    """One line per dialogue, in input order; see summary_record."""
    return "".join(strict_json.dumps(summary_record(one), ensure_ascii=False) + "\n" for one in summaries)


def format_table(summaries: Sequence[Sequence[RoleSummary]], delimiter: str = ",") -> str:
    """One row per dialogue, in input order: its id and a column for each role, which are named as a table's are read.

    Doubtful statements are marked. A column of notes says what a block of text says below it, where there is any.
    """
    roles = dict.fromkeys(one.role for of_dialogue in summaries for one in of_dialogue)
    columns = {role: summary_field(role) for role in roles}
    rows = []
    for of_dialogue in summaries:
        notes = [(one.role, " ".join(block_notes(one).split("\n")).strip()) for one in of_dialogue]
        texts = {columns[one.role]: marked_text(one) for one in of_dialogue}
        said = "\n".join(f"{role}: {note}" for role, note in notes if note)
        rows.append({"id": of_dialogue[0].dialogue_id, **texts, "notes": said})
    names = ["id", *columns.values(), *(["notes"] if any(row["notes"] for row in rows) else [])]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary_record(summaries: Sequence[RoleSummary]) -> dict[str, Any]:
    """The JSON record of a dialogue: id, summaries by role, roles that the limit cut off, statements, statistics."""
    value: dict[str, Any] = {"id": summaries[0].dialogue_id, "summaries": {one.role: one.text for one in summaries}}
    if truncated := [one.role for one in summaries if one.finish_reason == "length"]:
        value["truncated"] = truncated
    value |= statement_records(summaries)
    value["stats"] = {one.role: statistics_record(one) for one in summaries}
    return value


def statistics_record(one: RoleSummary | ExtractedFields) -> dict[str, Any]:
    """How a text was generated: tokens, why it ended, log-probabilities, time, and how much was read."""
    stats: dict[str, Any] = {"tokens": one.tokens, "finish_reason": one.finish_reason}
    if one.mean_logprob is not None:
        stats["mean_logprob"] = round(one.mean_logprob, 6)
    if one.lowest_logprob is not None:
        stats["lowest_logprob"] = round(one.lowest_logprob, 6)
    stats["seconds"] = round(one.seconds, 3)
    if one.coverage is not None:
        stats["coverage"] = asdict(one.coverage)
    return stats
