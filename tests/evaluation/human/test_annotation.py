import csv
import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.evaluated_run import EvaluatedRun, read_runs
from rolesum.evaluation.human.annotate import read_annotation_results
from rolesum.evaluation.human.results import ALL_ROLES, annotation_results, annotator_agreement, export_judgments
from rolesum.evaluation.human.session import AnnotationSession
from rolesum.evaluation.human.store import PREFERENCE, AnnotationStore, Judgment
from rolesum.evaluation.human.study import (
    REFERENCE,
    StudySettings,
    make_study,
    parse_criteria,
    parse_roles,
    resolve_settings,
)
from rolesum.evaluation.predictions import Prediction

ROLES = ("overall", "user")


def run(name, tmp_path, count=6, text="{name} wrote this of {identity} for {role}"):
    rows = tuple(
        Prediction(f"d{number}", role, text.format(name=name, identity=f"d{number}", role=role), (f"gold {role}",))
        for number in range(count)
        for role in ROLES
    )
    return EvaluatedRun(name, tmp_path / name, rows, {})


def dialogues(count=6):
    turns = (Turn("Anna", "hello"), Turn("Support", "good morning"))
    return [Dialogue(f"d{number}", turns, {"Anna": "user", "Support": "agent"}) for number in range(count)]


@pytest.fixture
def study(tmp_path):
    return make_study([run("a", tmp_path), run("b", tmp_path)], StudySettings(), dialogues())


@pytest.fixture
def store(tmp_path):
    opened = AnnotationStore(tmp_path / "annotations.sqlite")
    yield opened
    opened.close()


def judgment(annotator, dialogue, system, value, criterion="accuracy", other="", role="user"):
    return Judgment(annotator, dialogue, role, system, other, criterion, value, "A")


def test_each_annotator_has_an_order_of_ones_own_that_restarts_keep(study):
    anna, same, ben = study.tasks("Anna"), study.tasks("anna"), study.tasks("Ben")
    assert anna == same
    assert [task.item for task in anna] != [task.item for task in ben]
    assert {id(task.item) for task in anna} == {id(task.item) for task in ben} == {id(item) for item in study.items}
    assert len({task.systems for task in anna}) == 2  # the labels too are shuffled


def test_a_dialogues_roles_stand_together(study):
    places = [task.item.dialogue for task in study.tasks("Anna")]
    assert places[::2] == places[1::2]


def test_preferences_ask_each_pair_once_and_no_pair_that_wrote_the_same(tmp_path):
    runs = [run("a", tmp_path), run("b", tmp_path), run("c", tmp_path, text="{name}")]
    runs.append(EvaluatedRun("d", tmp_path / "d", runs[0].predictions, {}))
    study = make_study(runs, StudySettings(mode="prefer"), dialogues())
    tasks = study.tasks("Anna")
    asked = {(task.item.dialogue, task.item.role, frozenset(task.systems)) for task in tasks}
    assert len(asked) == len(tasks) == 12 * 5
    assert not any(set(task.systems) == {"a", "d"} for task in tasks)
    assert study.identical_pairs() == 12


def test_a_sample_is_drawn_by_its_seed_and_roles_are_chosen(tmp_path):
    runs = [run("a", tmp_path), run("b", tmp_path)]

    def drawn(**settings):
        return [(one.dialogue, one.role) for one in make_study(runs, StudySettings(**settings)).items]

    assert drawn(sample=4) == drawn(sample=4) != drawn(sample=4, seed=2)
    assert {role for _, role in drawn(roles=("user",))} == {"user"}
    with pytest.raises(UsageError, match="no role nurse"):
        drawn(roles=("nurse",))
    with pytest.raises(UsageError, match="more than 12 summaries"):
        drawn(sample=13)


def test_nothing_that_the_page_is_told_names_a_system(tmp_path, store):
    runs = [run("secret-a", tmp_path, text="one {role}"), run("secret-b", tmp_path, text="two {role}")]
    session = AnnotationSession(make_study(runs, StudySettings(with_reference=True), dialogues()), store)
    told = [session.start("Anna"), *(session.task("Anna", place) for place in range(12))]
    told += [session.rate("Anna", 0, "A", "accuracy", 3), session.undo("Anna")]
    text = json.dumps(told)
    assert "secret" not in text
    assert REFERENCE not in text
    assert [output["label"] for output in told[1]["outputs"]] == ["A", "B", "C"]


def test_the_last_answer_counts_and_undo_brings_back_the_one_before(study, store):
    session = AnnotationSession(study, store)
    session.start("Anna")
    session.rate("Anna", 3, "B", "coherence", 2)
    session.rate("Anna", 3, "B", "coherence", 5)
    assert [one.value for one in store.judgments()] == [5]
    assert session.undo("Anna")["answers"]["B"] == {"coherence": 2}
    assert session.undo("Anna") == {"place": 3, "answers": {"A": {}, "B": {}}, "done": False}
    assert session.undo("Anna") == {"place": None}


def test_an_answer_is_kept_for_the_system_behind_the_label(study, store):
    session = AnnotationSession(study, store)
    session.start("Anna")
    for place, task in enumerate(study.tasks("Anna")):
        shown = session.task("Anna", place)["outputs"]
        wrote = next(one["label"] for one in shown if one["text"].startswith("b wrote"))
        session.rate("Anna", place, wrote, "accuracy", 4)
        assert task.item.texts["b"] in [one["text"] for one in shown]
    assert {(one.system, one.value) for one in store.judgments()} == {("b", 4)}


def test_a_preference_is_kept_for_the_system_behind_the_label(tmp_path, store):
    session = AnnotationSession(
        make_study([run("a", tmp_path), run("b", tmp_path)], StudySettings(mode="prefer"), dialogues()), store
    )
    total = len(session.start("Anna")["done"])
    for place in range(total):
        texts = {one["text"][0]: one["label"] for one in session.task("Anna", place)["outputs"]}
        told = session.prefer("Anna", place, texts["b"])
        assert told == {"answers": texts["b"], "done": True}
    session.prefer("Anna", 0, "=")
    assert [one.value for one in store.judgments()].count(-1) == total - 1
    assert [one.value for one in store.judgments()].count(0) == 1


@pytest.mark.parametrize(
    "answer", [("Z", "accuracy", 3), ("A", "style", 3), ("A", "accuracy", 0), ("A", "accuracy", 6)]
)
def test_what_was_not_asked_is_not_kept(study, store, answer):
    session = AnnotationSession(study, store)
    session.start("Anna")
    with pytest.raises(UsageError):
        session.rate("Anna", 0, *answer)
    with pytest.raises(UsageError):
        session.prefer("Anna", 0, "A")
    with pytest.raises(UsageError):
        session.rate("Anna", 99, "A", "accuracy", 3)
    with pytest.raises(UsageError):
        session.rate("Nobody", 0, "A", "accuracy", 3)
    assert store.judgments() == []


def test_names_that_differ_in_case_and_spaces_are_one_annotator(store):
    assert store.register_annotator(" Anna  Li ") == "Anna Li"
    assert store.register_annotator("anna li") == "Anna Li"
    for bad in ("", "  ", "=1+1", "x" * 61, "a\x00b"):
        with pytest.raises(UsageError):
            store.register_annotator(bad)


def test_a_store_goes_on_and_refuses_other_runs_and_settings(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        home = tmp_path / name
        home.mkdir()
        rows = [{"id": "d1", "role": "user", "prediction": f"of {name}", "references": ["gold"]}]
        (home / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    runs = [tmp_path / "a", tmp_path / "b"]
    path = tmp_path / "kept.sqlite"
    with pytest.raises(UsageError, match="there is no"):
        read_annotation_results(runs, {}, store=path)
    first = AnnotationStore(path)
    study = make_study(read_runs(runs), StudySettings(scale=7))
    first.begin_study(study.record())
    first.register_annotator("Anna")
    first.add(judgment("Anna", "d1", "a", 7))
    first.close()
    assert (
        read_annotation_results(runs, {}, store=path)["ratings"]["user"]["a"]["accuracy"]["mean"] == 7
    )  # the scale is kept
    for change, told in (
        ("UPDATE answers SET value = 99", "not among the possible ones"),
        ("DROP TABLE answers", "broken"),
    ):
        spoilt = tmp_path / f"{told}.sqlite"
        shutil.copy(path, spoilt)
        with closing(sqlite3.connect(spoilt)) as connection, connection:
            connection.execute(change)
        with pytest.raises(DataError, match=told):
            read_annotation_results(runs, {}, store=spoilt)
    with pytest.raises(UsageError, match="another --scale"):
        read_annotation_results(runs, {"scale": 5}, store=path)
    with pytest.raises(DataError, match="judgments of a, b, not of a, c"):
        read_annotation_results([tmp_path / "a", tmp_path / "c"], {}, store=path)
    changed = (tmp_path / "b" / "predictions.jsonl").read_text(encoding="utf-8").replace("of b", "of another")
    (tmp_path / "b" / "predictions.jsonl").write_text(changed, encoding="utf-8")
    with pytest.raises(DataError, match="the outputs of b are not those"):
        read_annotation_results(runs, {}, store=path)


def test_a_file_of_another_kind_is_no_store(tmp_path):
    text, other = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("not a database at all, but long enough to be looked at" * 20, encoding="utf-8")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for path in (text, other):
        with pytest.raises(DataError, match="not a file of judgments"):
            AnnotationStore(path)


def test_alpha_is_that_of_the_textbook():
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: nominal 0.743, ordinal 0.815.
    nan = np.nan
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
    rows = [
        judgment(f"annotator {who}", f"d{unit}", "a", int(value))
        for who, values in enumerate(table)
        for unit, value in enumerate(values)
        if not np.isnan(value)
    ]
    for ordinal, textbook in ((False, 0.743), (True, 0.815)):
        found = annotator_agreement(rows, range(1, 6), ordinal)
        assert found.alpha == pytest.approx(textbook, abs=0.001)
        assert found.units == 11  # the twelfth has one answer
        assert found.interval[0] < found.alpha < found.interval[1]


def test_alpha_is_undefined_and_says_so_without_a_second_annotator_or_a_second_value():
    alone = annotator_agreement([judgment("Anna", "d1", "a", 3)], range(1, 6), True)
    assert (alone.alpha, alone.note) == (None, "no two annotators judged the same output")
    alike = [judgment(who, dialogue, "a", 3) for who in ("Anna", "Ben") for dialogue in ("d1", "d2")]
    assert annotator_agreement(alike, range(1, 6), True).note == "all answers are the same"


def test_ratings_give_means_differences_and_intervals_over_dialogues(study):
    rows = [
        judgment(who, f"d{number}", system, value + shift, role=role)
        for who, shift in (("Anna", 0), ("Ben", 1))
        for number, low in enumerate((1, 2, 3, 1, 2, 3))
        for role in ROLES
        for system, value in (("a", low), ("b", low + 1))
    ]
    found = annotation_results(study, rows)
    assert found["annotators"] == {"Anna": 24, "Ben": 24}
    cell = found["ratings"][ALL_ROLES]["b"]["accuracy"]
    assert (cell["mean"], cell["judgments"]) == (3.5, 24)
    assert cell["interval"][0] < 3.5 < cell["interval"][1]
    assert cell["from_first"] == {"mean": 1.0, "interval": [1.0, 1.0]}  # paired: each dialogue differs by one
    assert found["ratings"]["user"]["a"]["accuracy"]["judgments"] == 12
    twice = annotation_results(
        study, rows + [judgment("Cleo", one.dialogue, one.system, one.value) for one in rows[:24]]
    )
    spread = twice["ratings"]["user"]["b"]["accuracy"]["interval"]
    assert spread[1] - spread[0] > 0.5  # more annotators of six dialogues do not make more dialogues


def test_a_tie_is_half_a_win(tmp_path):
    study = make_study([run("a", tmp_path), run("b", tmp_path)], StudySettings(mode="prefer"))
    rows = [
        judgment("Anna", f"d{number}", "a", value, "preference", "b")
        for number, value in enumerate((1, 1, 0, 0, -1, 1))
    ]
    (pair,) = annotation_results(study, rows)["preferences"]["user"]
    assert (pair["wins"], pair["ties"], pair["losses"]) == (3, 2, 1)
    assert pair["win_rate"] == pytest.approx(66.6667, abs=1e-3)
    assert pair["interval"][0] < pair["win_rate"] < pair["interval"][1]


def test_the_export_names_the_systems(tmp_path):
    rows = [judgment('An"na', "d1", "a", 3), judgment("Ben", "对话,1", "b", 5)]
    export_judgments(rows, tmp_path / "all.csv")
    export_judgments(rows, tmp_path / "all.jsonl")
    read = list(csv.DictReader((tmp_path / "all.csv").open(encoding="utf-8")))
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["annotator"], row["dialogue"], row["system"], int(row["value"])) for row in read] == [
        (row["annotator"], row["dialogue"], row["system"], row["value"]) for row in lines
    ]
    with pytest.raises(UsageError, match="end its name"):
        export_judgments(rows, tmp_path / "all.xlsx")


def test_criteria_and_roles_are_read_as_they_are_written():
    found = parse_criteria(["accuracy, style", "tone=polite = good"])
    assert [(one.name, bool(one.meaning)) for one in found] == [("accuracy", True), ("style", False), ("tone", True)]
    with pytest.raises(UsageError):
        parse_criteria(["a,,b"])
    with pytest.raises(UsageError):
        parse_criteria(["a", "a=twice"])
    assert parse_roles("客服, nurse's own") == ("agent", "nurse's own")


@pytest.mark.parametrize("asked", [{"scale": 1}, {"scale": 10}, {"mode": "guess"}, {"sample": 0}])
def test_settings_that_cannot_be_are_refused(asked):
    with pytest.raises(UsageError, match=next(iter(asked))):
        resolve_settings(asked, None, "")


def test_the_order_in_which_runs_are_named_changes_nothing(tmp_path):
    for name in ("a", "b"):
        home = tmp_path / name
        home.mkdir()
        rows = [
            {"id": f"d{one}", "role": "user", "prediction": f"{name}{one}", "references": ["gold"]} for one in range(9)
        ]
        rows = rows[:: -1 if name == "b" else 1]
        (home / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    runs, path = [tmp_path / "a", tmp_path / "b"], tmp_path / "kept.sqlite"
    study = make_study(read_runs(runs), StudySettings(mode="prefer", sample=5))
    kept = AnnotationStore(path)
    kept.begin_study(study.record())
    kept.register_annotator("Anna")
    for item in study.items:
        kept.add(judgment("Anna", item.dialogue, "a", 1, PREFERENCE, "b"))
    kept.close()
    found = read_annotation_results(runs, {}, store=path)
    assert found["preferences"]["user"][0]["wins"] == 5
    assert read_annotation_results(runs[::-1], {}, store=path) == found
