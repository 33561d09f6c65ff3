"""rolesum score."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.options import Json, MultiReferenceOption, parse_multi_reference


def score(
    scorer: Annotated[
        str, typer.Option("--scorer", help="csds, csds-glc, samsum, samsum-pyrouge, hf or llamafactory.")
    ],
    predictions: Annotated[Path, typer.Option("--predictions", help="One text a line, or JSON lines with id.")],
    references: Annotated[Path, typer.Option("--references", help="The same, in the same form.")],
    multi_reference: MultiReferenceOption = "mean",
    json_: Json = False,
) -> None:
    """Score any system's outputs.

    Text files are aligned by line. JSON lines are joined by id and role: {"id", "role", "prediction"} against
    {"id", "role", "reference"}, or {"id", "summaries": {role: text}} on either side.

    Example: rolesum score --scorer csds --predictions PGN.txt --references references.txt
    """
    from rolesum.evaluation.evaluated_run import score_results
    from rolesum.evaluation.evaluation import score_roles
    from rolesum.evaluation.predictions import read_pairs
    from rolesum.evaluation.report.terminal import print_results
    from rolesum.metrics.scorers import get_scorer

    get_scorer(scorer)
    how = parse_multi_reference(multi_reference)
    found = score_roles(read_pairs(predictions, references), scorer, how)
    results = {role: score_results(one) for role, one in found.items()}
    if json_:
        typer.echo(strict_json.dumps(results, indent=1, ensure_ascii=False))
    else:
        print_results(results)
