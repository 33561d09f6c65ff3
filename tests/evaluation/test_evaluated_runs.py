"""Scoring given outputs, and comparing evaluated runs: through the jobs that the verbs call."""

import json
import shutil

import pytest

from rolesum.errors import DataError, UsageError
from rolesum.evaluation.compare import compare_runs
from rolesum.evaluation.evaluated_run import read_run, read_run_dialogues, read_runs
from rolesum.evaluation.run import EvaluationTask, evaluate_baseline, evaluate_outputs
from rolesum.formats import ReadOptions, read_dialogues

DATA = "sample:en-test"
FILES = {"predictions.jsonl", "scores.jsonl", "checks.jsonl", "results.json", "table.md", "table.tex", "report.html"}


@pytest.fixture
def lines(tmp_path):
    def write(name, content):
        path = tmp_path / name
        rows = content if isinstance(content, str) else "".join(json.dumps(one) + "\n" for one in content)
        path.write_text(rows, encoding="utf-8")
        return str(path)

    return write


def limited(limit):
    """Options that read the first `limit` dialogues."""
    return ReadOptions(limit=limit)


def problems(error):
    return [f"{one.where.rpartition('/')[2]}: {one.what}" for one in error.value.problems]


def test_texts_by_line_are_scored_against_the_data(lines, tmp_path):
    dialogues = read_dialogues(DATA, ReadOptions(limit=4))
    texts = lines("agent.txt", "".join(one.summaries["agent"][0].replace("\n", " ") + "\n" for one in dialogues))
    done = evaluate_outputs(EvaluationTask(DATA, read_options=limited(4), out=tmp_path / "out"), [f"客服={texts}"])
    assert list(done.scores) == ["agent"]
    assert done.scores["agent"].means["rouge1"] == pytest.approx(100)
    assert done.metadata["system"] == "agent"
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["roles"]["agent"]
    assert "rouge1" not in results["intervals"]  # of four equal figures there is none
    assert results["checks"]["repetition"]["value"] == results["checks"]["repetition"]["reference"]
    assert {"length", "turns"} <= results["breakdown"].keys()


def test_json_lines_are_joined_by_id_and_role_and_no_role_is_overall(lines):
    first, second = read_dialogues(DATA, ReadOptions(limit=2))
    path = lines("out.jsonl", [{"id": second.id, "prediction": "two"}, {"id": first.id, "prediction": "one"}])
    done = evaluate_outputs(EvaluationTask(DATA, read_options=limited(2)), [path])
    assert [(one.id, one.role, one.prediction) for one in done.predictions] == [
        (first.id, "overall", "one"),
        (second.id, "overall", "two"),
    ]


def test_what_does_not_fit_together_is_told_at_once(lines):
    first, second, _ = read_dialogues(DATA, ReadOptions(limit=3))
    path = lines(
        "out.jsonl",
        [
            {"id": first.id, "role": "user", "prediction": "one"},
            {"id": "nobody", "role": "user", "prediction": "lost"},
            {"id": second.id, "role": "user"},
        ],
    )
    with pytest.raises(DataError) as caught:
        evaluate_outputs(EvaluationTask(DATA, read_options=limited(3)), [path])
    told = problems(caught)
    assert any("no dialogue with id nobody" in one for one in told)
    assert any(one.startswith("out.jsonl:3") and "no text" in one for one in told)
    assert sum("no output for role user" in one for one in told) == 1  # the third; the second has its own problem


def test_too_few_lines_an_unknown_role_and_a_text_without_a_role_are_refused(lines):
    path = lines("out.txt", "one\ntwo\n")
    with pytest.raises(DataError, match="2 lines for 3 dialogues"):
        evaluate_outputs(EvaluationTask(DATA, read_options=limited(3)), [f"user={path}"])
    with pytest.raises(UsageError, match='unknown role "usr"'):
        evaluate_outputs(EvaluationTask(DATA, read_options=limited(2)), [f"usr={path}"])
    with pytest.raises(UsageError, match="a text file without a role"):
        evaluate_outputs(EvaluationTask(DATA, read_options=limited(2)), [path])
    with pytest.raises(DataError, match="a second output for id"):
        evaluate_outputs(EvaluationTask(DATA, read_options=limited(2)), [f"user={path}", f"customer={path}"])


def test_a_limit_takes_the_first_dialogues_of_outputs_for_all(lines):
    dialogues = read_dialogues(DATA)
    texts = lines("all.txt", "".join(f"text {number}\n" for number in range(len(dialogues))))
    rows = lines("all.jsonl", [{"id": one.id, "role": "user", "prediction": "text"} for one in dialogues])
    few = lines("few.txt", "text 0\ntext 1\n")
    for given in (f"user={texts}", rows, f"user={few}"):
        done = evaluate_outputs(EvaluationTask(DATA, read_options=limited(2)), [given])
        assert [one.id for one in done.predictions] == [one.id for one in dialogues[:2]]
    assert [one.prediction for one in done.predictions] == ["text 0", "text 1"]


def test_outputs_of_other_data_are_told_in_one_line(lines):
    path = lines("out.jsonl", [{"id": f"other-{number}", "prediction": "one"} for number in range(50)])
    with pytest.raises(DataError, match=r"no output is of a dialogue of the data: first other-0") as caught:
        evaluate_outputs(EvaluationTask(DATA), [path])
    assert len(caught.value.problems) == 1


def test_a_system_is_called_after_its_files_or_as_one_says(lines, tmp_path):
    (tmp_path / "mine").mkdir()
    dialogue = read_dialogues(DATA, ReadOptions(limit=1))[0]
    path = lines("mine/predictions.jsonl", [{"id": dialogue.id, "prediction": "one"}])
    assert evaluate_outputs(EvaluationTask(DATA, read_options=limited(1)), [path]).metadata["system"] == "mine"
    named = evaluate_outputs(EvaluationTask(DATA, read_options=limited(1), system_name="best 2"), [path])
    assert named.metadata["system"] == "best 2"
    user, agent = (lines(f"{role}.txt", "one\n") for role in ("her", "him"))
    done = evaluate_outputs(EvaluationTask(DATA, read_options=limited(1)), [f"user={user}", f"agent={agent}"])
    assert done.metadata["system"] == "her, him"


def test_written_predictions_are_scored_again_without_the_data(tmp_path):
    before = evaluate_baseline(
        EvaluationTask(DATA, roles=("overall",), read_options=limited(6), out=tmp_path / "a"), "lead-2"
    )
    again = evaluate_outputs(EvaluationTask(None), [str(tmp_path / "a" / "predictions.jsonl")])
    assert again.scores["overall"].means == before.scores["overall"].means
    assert again.checks == {}


def test_without_data_there_is_nothing_to_hold_outputs_against(lines):
    with pytest.raises(UsageError, match="no data to evaluate on"):
        evaluate_outputs(EvaluationTask(None), ["user=" + lines("out.txt", "one\n")])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("lead-2", "longest-2", "oracle"):
        evaluate_baseline(EvaluationTask(DATA, read_options=limited(12), out=folder / name), name)
    return folder


def test_a_better_system_wins_and_the_worse_one_loses(runs, tmp_path):
    rows = compare_runs([runs / "lead-2", runs / "oracle"], out=tmp_path).rows
    (row,) = [row for row in rows if (row.role, row.measure) == ("overall", "rouge1")]
    assert (row.a_name, row.b_name, row.scorer) == ("lead-2", "oracle", "samsum")
    assert row.comparison.difference > 3
    assert row.comparison.low > 0
    assert row.comparison.wins > row.comparison.losses
    assert row.comparison.p_randomization <= row.p_adjusted <= 1
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "table.md", "table.tex", "report.html"}
    (turned,) = [
        one
        for one in compare_runs([runs / "oracle", runs / "lead-2"]).rows
        if one.role == "overall" and one.measure == "rouge1"
    ]
    assert turned.comparison.difference == pytest.approx(-row.comparison.difference)
    assert turned.comparison.losses == row.comparison.wins


def test_three_systems_make_three_comparisons_and_holm_counts_them_all(runs):
    rows = compare_runs([runs / "lead-2", runs / "longest-2", runs / "oracle"]).rows
    assert len(dict.fromkeys((row.a_name, row.b_name) for row in rows)) == 3
    scored = [row for row in rows if row.scorer == "samsum"]
    smallest = min(scored, key=lambda row: row.comparison.p_randomization)
    assert smallest.p_adjusted == pytest.approx(min(1, len(scored) * smallest.comparison.p_randomization))
    of_checks = [row for row in rows if row.scorer == "checks"]
    assert {row.measure for row in of_checks} >= {"repetition", "length"}
    assert all(row.comparison.wins is None for row in of_checks)  # whether less is better depends on the check


def test_runs_by_different_scorers_are_compared_by_one_that_is_named(runs, tmp_path):
    evaluate_baseline(EvaluationTask(DATA, read_options=limited(12), scorer="hf", out=tmp_path / "hf"), "lead-2")
    with pytest.raises(UsageError, match="different scorers"):
        compare_runs([runs / "oracle", tmp_path / "hf"])
    assert {row.scorer for row in compare_runs([runs / "oracle", tmp_path / "hf"], "samsum-pyrouge").rows} == {
        "samsum-pyrouge",
        "checks",
    }


def test_runs_of_other_dialogues_are_refused_with_what_is_missing(runs, tmp_path):
    evaluate_baseline(EvaluationTask(DATA, read_options=limited(3), out=tmp_path / "few"), "lead-2")
    with pytest.raises(DataError) as caught:
        read_runs([runs / "lead-2", tmp_path / "few"])
    assert len(caught.value.problems) == 3 * 9
    with pytest.raises(UsageError, match="two or more different runs"):
        read_runs([runs / "lead-2", runs / "lead-2"])
    with pytest.raises(UsageError, match="no evaluated run"):
        read_run(tmp_path)


def test_a_run_finds_its_dialogues_again(runs):
    run = read_run(runs / "lead-2")
    assert [one.id for one in read_run_dialogues([run])] == [
        one.id for one in read_dialogues(DATA, ReadOptions(limit=12))
    ]
    assert read_run_dialogues([run], "sample:en-test") == read_run_dialogues([run])
    with pytest.raises(DataError, match="it lacks 12 of the runs' 12 dialogues"):
        read_run_dialogues([run], "sample:zh-test")


def test_broken_results_are_told_with_their_file(runs, tmp_path):
    (tmp_path / "predictions.jsonl").write_bytes((runs / "lead-2" / "predictions.jsonl").read_bytes())
    (tmp_path / "results.json").write_text('{"data": ')
    with pytest.raises(DataError, match=r"results\.json"):
        read_run(tmp_path)


def copied(run, folder):
    """A run's directory copied to where it may be spoilt."""
    shutil.copytree(run, folder)
    return folder


def test_two_dialogues_with_one_id_are_refused(lines):
    (dialogue,) = ({"id": "1", "turns": [{"speaker": "A", "text": "hi"}], "summaries": {"overall": "A greets."}},)
    data = lines("twice.jsonl", [dialogue, {**dialogue, "id": 1}])
    texts = lines("out.txt", "one\ntwo\n")
    with pytest.raises(DataError, match="id 1 stands in"):
        evaluate_outputs(EvaluationTask(data), [f"overall={texts}"])
    with pytest.raises(DataError, match="id 1 stands in"):
        evaluate_baseline(EvaluationTask(data), "lead-1")


@pytest.mark.parametrize("row", [{"summary": "one"}, {"summaries": {"user": "one"}}, {"prediction": "one"}])
def test_outputs_are_never_their_own_references(lines, row):
    with pytest.raises(DataError, match="no references"):
        evaluate_outputs(EvaluationTask(None), [lines("out.jsonl", [{"id": "1", **row}])])


def test_roles_that_a_run_wrote_stay_what_they_are(lines, tmp_path):
    """ "doctor" is a role of one's own here, and an alias of agent elsewhere."""
    rows = [{"id": "1", "role": role, "prediction": "one", "references": ["one two"]} for role in ("doctor", "agent")]
    assert [one.role for one in evaluate_outputs(EvaluationTask(None), [lines("out.jsonl", rows)]).predictions] == [
        "doctor",
        "agent",
    ]


def test_what_was_cut_short_or_edited_is_not_taken_for_a_run(runs, tmp_path):
    spoilt = copied(runs / "oracle", tmp_path / "spoilt")
    text = (spoilt / "predictions.jsonl").read_text(encoding="utf-8")
    (spoilt / "predictions.jsonl").write_text(text.replace("the", "a"), encoding="utf-8")
    with pytest.raises(DataError, match=r"does not match the digest in results\.json"):
        read_run(spoilt)


def test_data_that_changed_is_refused_until_it_is_named(tmp_path, lines):
    row = {"id": "1", "turns": [{"speaker": "A", "text": "hello there"}], "summaries": {"overall": "A greets."}}
    data = lines("data.jsonl", [row])
    for name in ("lead-1", "oracle"):
        evaluate_baseline(EvaluationTask(data, out=tmp_path / name), name)
    row["turns"][0]["text"] = "something else"
    lines("data.jsonl", [row])
    with pytest.raises(DataError, match="it has changed"):
        compare_runs([tmp_path / "lead-1", tmp_path / "oracle"])
    assert compare_runs([tmp_path / "lead-1", tmp_path / "oracle"], data=data).rows


@pytest.mark.parametrize("text", ['{"id": "1"', "[1]\n", "\u2028", '{"role": "user"}\n'])
def test_broken_scores_are_told_with_their_file(runs, tmp_path, text):
    spoilt = copied(runs / "oracle", tmp_path / "spoilt")
    (spoilt / "scores.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"scores\.jsonl"):
        compare_runs([runs / "lead-2", spoilt])


@pytest.mark.parametrize(
    "edited",
    [{"roles": []}, {"roles": {"user": 1}}, {"speakers": {"X": 5}}, {"custom_roles": {"x": 5}}, {"format": 5}, []],
)
def test_results_of_other_types_are_told_with_their_file(runs, tmp_path, edited):
    spoilt = copied(runs / "oracle", tmp_path / "spoilt")
    results = json.loads((spoilt / "results.json").read_text(encoding="utf-8"))
    (spoilt / "results.json").write_text(json.dumps({**results, **edited} if edited else edited))
    with pytest.raises(DataError, match=r"results\.json"):
        read_run(spoilt)


def test_a_comparison_does_not_replace_a_runs_report(runs):
    with pytest.raises(UsageError, match="whose report would be replaced"):
        compare_runs([runs / "lead-2", runs / "oracle"], out=runs / "oracle")


def test_an_evaluation_without_checks_leaves_none_of_an_earlier_one(tmp_path):
    evaluate_baseline(EvaluationTask(DATA, read_options=limited(2), out=tmp_path), "lead-1")
    assert (tmp_path / "checks.jsonl").exists()
    evaluate_baseline(EvaluationTask(DATA, read_options=limited(2), out=tmp_path, checks=False), "lead-1")
    assert not (tmp_path / "checks.jsonl").exists()


def test_options_of_the_data_need_data(runs):
    with pytest.raises(UsageError, match="none is named"):
        evaluate_outputs(EvaluationTask(None, read_options=limited(2)), [str(runs / "oracle" / "predictions.jsonl")])
