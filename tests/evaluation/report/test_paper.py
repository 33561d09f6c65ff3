import re

import pytest

from rolesum.errors import UsageError
from rolesum.evaluation.evaluated_run import evaluation_results
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report.paper import as_latex, as_markdown
from rolesum.metrics.published import PublishedRow

REFERENCES = ("Tom fixed the lamp.", "Anna called Tom.", "They met at noon.")


def results(*texts, scorer="samsum", roles=("overall",)):
    predictions = [
        Prediction(str(place), role, text, (reference,))
        for role in roles
        for place, (text, reference) in enumerate(zip(texts * 10, REFERENCES * 10, strict=True))
    ]
    return evaluation_results(Evaluation(tuple(predictions), score_roles(predictions, scorer), {}))


GOOD, BAD = results(*REFERENCES), results("Tom fixed it.", "Anna slept.", "No.")


def rows(markdown):
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.splitlines() if "|" in line]


def test_markdown_has_a_row_for_each_system_with_its_figures_and_intervals():
    head, rule, good, bad = rows(as_markdown({"good": GOOD, "bad": BAD}))
    assert head == ["system", "R-1", "R-2", "R-L", "R-Lsum", "BLEU", "chrF"]
    assert len(rule) == len(good) == len(bad) == len(head)
    assert good[:2] == ["good", "**100.00** (100.0–100.0)"]
    of_bad = BAD["roles"]["overall"]
    low, high = of_bad["intervals"]["rouge1"]
    assert bad[1] == f"{of_bad['means']['rouge1']:.2f} ({low:.1f}–{high:.1f})"


def test_the_best_of_a_column_is_bold_and_nothing_is_where_there_is_nothing_to_be_better_than():
    assert "**100.00**" in as_markdown({"good": GOOD, "bad": BAD})
    assert "**100.00**" not in as_markdown({"good": GOOD})
    assert as_markdown({"one": GOOD, "two": GOOD}).count("**100.00**") == 2 * as_markdown({"one": GOOD}).count(
        "100.00 "
    )


def test_both_name_scorer_version_and_libraries():
    found = GOOD["roles"]["overall"]
    for made in (as_markdown({"good": GOOD}), as_latex({"good": GOOD})):
        assert f"samsum v{found['scorer_version']} (equal to rouge-score 0.1.2 and sacrebleu 2; nltk" in made
        assert f"sacrebleu {found['libraries']['sacrebleu']}" in made


def test_latex_is_balanced_and_each_row_has_all_columns():
    made = as_latex({"good": GOOD, "bad": BAD})
    assert made.count("{") == made.count("}")
    assert re.findall(r"\\(begin|end)\{(\w+)\}", made) == [
        *(("begin", "table"), ("begin", "tabular")),
        *(("end", "tabular"), ("end", "table")),
    ]
    body = [line for line in made.splitlines() if line.startswith(("System", "good", "bad"))]
    assert [line.count("&") for line in body] == [6, 6, 6]
    assert all(line.endswith(r"\\") for line in body)
    assert r"\begin{tabular}{lrrrrrr}" in made
    assert {r"\toprule", r"\midrule", r"\bottomrule"} <= set(made.splitlines())


def test_names_are_escaped_and_chinese_ones_pass():
    name = r"a_b 50% & #1 {x} \y ~ ^ $ 客服"
    made = as_latex({name: GOOD})
    escaped = r"a\_b 50\% \& \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \$ 客服"
    assert any(line.startswith(f"{escaped} & ") for line in made.splitlines())
    assert r"a\_b \| c\*d\<e 客服" in as_markdown({"a_b |\nc*d<e 客服": GOOD})
    assert len(rows(as_markdown({"a|b": GOOD}))[2]) == 7


def test_each_role_is_a_block_of_its_own_with_the_systems_that_have_it():
    both, one = results(*REFERENCES, roles=("user", "agent")), results(*REFERENCES, roles=("agent",))
    made = as_markdown({"both": both, "one": one})
    user, agent, _ = made.split("\n\n**agent**")[0], made.split("\n\n**agent**")[1], None
    assert "| one" not in user
    assert "| one" in agent
    assert r"\textit{user, 30 summaries}" in as_latex({"both": both, "one": one})


def test_published_rows_stand_below_without_intervals_and_with_gaps():
    published = {"overall": [PublishedRow("Paper & Co", "a paper", {"rouge1": 53.0})]}
    row = rows(as_markdown({"bad": BAD}, published))[-1]
    assert row == ["Paper & Co (as published)", "**53.00**", *["–"] * 5]
    latex = as_latex({"bad": BAD}, published)
    assert r"Paper \& Co & \textbf{53.00} & -- & -- & -- & -- & -- \\" in latex
    assert latex.index("as published") < latex.index("Paper")


def test_results_of_different_scorers_are_refused_and_named():
    with pytest.raises(UsageError, match=r"samsum v.*hf v"):
        as_markdown({"good": GOOD, "other": results(*REFERENCES, scorer="hf")})


def test_no_results_are_refused():
    with pytest.raises(UsageError, match="no results"):
        as_latex({})
