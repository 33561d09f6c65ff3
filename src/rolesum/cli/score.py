"""rolesum score."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.help import Panel, choices
from rolesum.cli.options import Json, MultiReferenceOption, ScorerName


def score(
    scorer: Annotated[
        ScorerName,
        typer.Option(
            "--scorer",
            metavar=choices(ScorerName),
            rich_help_panel=Panel.METRICS,
            help="How to compute ROUGE, BLEU and chrF. For English: samsum, samsum-pyrouge (as in SAMSum's first "
            "papers) or hf (as Hugging Face evaluate). For Chinese: csds, csds-glc (as BART-GLC's script) or "
            "llamafactory (as LLaMA-Factory).",
        ),
    ],
    predictions: Annotated[
        Path,
        typer.Option(
            "--predictions",
            metavar="FILE",
            rich_help_panel=Panel.INPUT,
            help="Summaries to score: one text a line, or JSON lines with ids.",
        ),
    ],
    references: Annotated[
        Path,
        typer.Option(
            "--references",
            metavar="FILE",
            rich_help_panel=Panel.INPUT,
            help="Reference summaries, in the form of --predictions.",
        ),
    ],
    multi_reference: MultiReferenceOption = "mean",
    json_: Json = False,
) -> None:
    """Score the texts of any system against reference texts, file against file.

    Text files are aligned by line. JSON lines are joined by id and role: {"id", "role", "prediction"} against
    {"id", "role", "reference"}, or {"id", "summaries": {role: text}} on either side.

    Example: rolesum score --scorer csds --predictions PGN.txt --references references.txt
    """
    from rolesum.evaluation.evaluated_run import score_results
    from rolesum.evaluation.evaluation import score_roles
    from rolesum.evaluation.predictions import read_pairs
    from rolesum.evaluation.report.terminal import print_results

    found = score_roles(read_pairs(predictions, references), scorer, multi_reference)
    results = {role: score_results(one) for role, one in found.items()}
    if json_:
        typer.echo(strict_json.dumps(results, indent=1, ensure_ascii=False))
    else:
        print_results(results)
