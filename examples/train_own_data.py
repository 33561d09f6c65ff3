"""Train on chats of your own: python examples/train_own_data.py tickets.json runs/tickets

tickets.json is a list of {"chat": "Speaker: text" lines, "user": summary, "agent": summary}, ten or more. The run goes
on from the bundled adapter; the part of the tickets that it holds out is then summarized with and without training.
"""

import json
import sys
from pathlib import Path
from typing import Any

import rolesum

ROLES = ["user", "agent"]


def write_dialogues(tickets: list[dict[str, Any]], path: Path) -> None:
    """Write the tickets as the JSON lines that rolesum trains on."""
    with path.open("w", encoding="utf-8") as file:
        for number, ticket in enumerate(tickets, 1):
            turns = [line.partition(":") for line in ticket["chat"].splitlines()]
            record = {
                "id": f"ticket-{number}",
                "turns": [{"speaker": speaker, "text": text} for speaker, _, text in turns],
                "summaries": {role: ticket[role] for role in ROLES},
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def rouge_1(adapter: str | Path, data: Path) -> dict[str, float]:
    """ROUGE-1 in percent of what an adapter writes for each role."""
    with rolesum.Summarizer.from_pretrained(adapter) as summarizer:
        scores = rolesum.evaluate(summarizer, data, roles=ROLES).scores
    return {role: score.means["rouge1"] for role, score in scores.items()}


def main(source: str, out: str, start: str = "rolesum-en-zh") -> None:
    data = Path(source).with_suffix(".jsonl")
    write_dialogues(json.loads(Path(source).read_text(encoding="utf-8")), data)
    run = rolesum.train("mine", out, overrides={"data.train.path": data, "roles": ROLES, "base_adapter": start})
    print("before", rouge_1(start, run.held_out))
    print("after", rouge_1(run.adapter, run.held_out))


if __name__ == "__main__":
    main(*sys.argv[1:])
