import base64
import hashlib
import json
import random
import re
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest

from helpers.report_pages import Page, cases, chat
from rolesum.dialogue import Dialogue, Turn
from rolesum.evaluation.compare import compare_evaluations
from rolesum.evaluation.evaluate import Prediction, add_checks
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.model_metrics.model_score import ModelScore
from rolesum.evaluation.report import ReportSystem, score_tables, write_report
from rolesum.evaluation.report.precision import rounded
from rolesum.formats import read_dialogues

EVIL = """<script>alert("1")</script><img src=x onerror='go()'>&amp; {{ 7 * 7 }}"""
BY_ITSELF = re.compile(r"\b(?:href|src|srcset|action|data|poster|xlink:href)\s*=|url\(|@import|https?://")


def chats_of_two_roles(*numbers):
    return [chat(number, overall=("Her lamp broke.", "A lamp.")) for number in numbers]


def evaluation(dialogues, write, checked=False):
    predictions = [
        Prediction(one.id, role, write(one, role), tuple(texts))
        for one in dialogues
        for role, texts in one.summaries.items()
    ]
    scorer = "csds" if dialogues[0].language == "zh" else "samsum"
    found = Evaluation(tuple(predictions), score_roles(predictions, scorer), {})
    return add_checks(found, dialogues) if checked else found


@pytest.fixture
def page_of(tmp_path):
    """Writes a report and gives its text."""

    def write(dialogues, systems=None, title="A title", checked=False, **more):
        made = systems or {"parrot": lambda one, role: one.turns[0].text}
        columns = [ReportSystem(name, evaluation(dialogues, made[name], checked)) for name in made]
        path = tmp_path / "new" / "report.html"
        write_report(path, title, columns, dialogues, **more)
        return path.read_text(encoding="utf-8")

    return write


def first_words(count):
    return lambda one, role: " ".join(one.turns[0].text.split()[:count])


def script():
    return files("rolesum.evaluation.report").joinpath("page.js").read_text(encoding="utf-8")


def test_a_page_is_whole_and_every_tag_is_closed(page_of):
    text = page_of([chat(number) for number in range(3)], metadata={"engine": "parrot"})
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert (page.open, page.mismatches) == ([], [])
    assert page.tags().count("h1") == 1
    assert page.all("title") == page.all("h1") == ["A title"]
    assert page.all("h2") == ["Scores", "Cases", "How it was made"]
    assert ("meta", {"charset": "utf-8"}) in page.elements


def test_the_page_needs_nothing_from_outside_and_forbids_it(page_of):
    text = page_of([chat(1)], metadata={"engine": "parrot"})
    assert BY_ITSELF.findall(text) == []
    assert not {"link", "iframe", "img", "object", "embed", "base"} & set(Page(text).tags())
    (policy,) = [one["content"] for tag, one in Page(text).elements if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_the_only_script_is_our_own_whatever_the_data_says(page_of):
    dialogue = chat(EVIL, text=EVIL, reference=EVIL)
    text = page_of([dialogue, chat(2)], {EVIL: lambda one, role: EVIL, "b": first_words(2)}, metadata={EVIL: EVIL})
    page = Page(text)
    assert page.all("script") == [script().strip()]
    assert page.tags().count("script") == text.lower().count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_an_address_that_somebody_typed_stays_a_text_and_becomes_no_link(page_of):
    page = Page(page_of([chat(1, text="see https://example.org/a")]))
    assert "see https://example.org/a" in page.all("li")
    assert not {"a", "link", "img"} & set(page.tags())


def test_nothing_that_comes_from_data_is_ever_markup(page_of):
    dialogue = Dialogue(
        id=EVIL,
        turns=(Turn(EVIL, EVIL), Turn("Tom", "Sorry for the lamp")),
        roles={EVIL: 'user" onclick="go()'},
        summaries={EVIL: (EVIL,)},
    )
    text = page_of([dialogue], {EVIL: lambda one, role: EVIL}, EVIL, metadata={EVIL: EVIL})
    page = Page(text)
    assert "img" not in page.tags()
    assert page.tags().count("script") == 1
    assert (page.open, page.mismatches) == ([], [])
    assert {name for _, attributes in page.elements for name in attributes if name.startswith("on")} == set()
    for tag in ("title", "h1", "h3", "summary", "b", "li", "dt", "dd", "td", "option"):
        assert EVIL in page.all(tag), tag


def test_each_role_has_a_table_with_a_row_for_each_system_and_its_figures(page_of):
    dialogues = chats_of_two_roles(1, 2)
    systems = {"parrot": lambda one, role: one.turns[0].text, "oracle": lambda one, role: one.summaries[role][0]}
    page = Page(page_of(dialogues, systems))
    assert page.all("h3")[:2] == ["user", "overall"]
    assert page.all("th")[:7] == ["system", "R-1", "R-2", "R-L", "R-Lsum", "BLEU", "chrF"]
    cells = page.all("td")
    scores = evaluation(dialogues, systems["parrot"]).scores
    row = [rounded(value, 1) for value in scores["user"].means.values()]
    assert cells[:8] == ["parrot", *row, "oracle"]
    assert cells[8:12] == ["100"] * 4
    assert "100.0 – 100.0" not in page.all("span")  # two dialogues that agree say nothing of others


def test_each_table_says_by_which_scorer_over_how_many_summaries_and_references(page_of):
    notes = [note for note in Page(page_of(chats_of_two_roles(1, 2))).all("p") if note.startswith("scorer")]
    assert len(notes) == 2
    made_by = (
        r"scorer samsum v\d+ \(equal to rouge-score [\d.]+ and sacrebleu 2; nltk [\d.]+, sacrebleu [\d.]+\), 2 sum"
    )
    assert all(re.match(made_by, note) for note in notes)
    assert ["mean over several references" in note for note in notes] == [False, True]


def test_a_chinese_page_says_so_and_has_bleu(page_of):
    text = page_of([chat(1, text="我的台灯坏了", reference="用户说台灯坏了。")])
    assert Page(text).elements[0] == ("html", {"lang": "zh"})
    assert "BLEU" in Page(text).all("th")
    assert "用户说台灯坏了。" in Page(text).all("dd")


def test_a_dialogue_stands_with_its_references_and_every_systems_summary(page_of):
    systems = {"parrot": lambda one, role: one.turns[0].text, "mute": lambda one, role: ""}
    page = Page(page_of(chats_of_two_roles(1), systems))
    assert page.all("b") == ["Anna", "Tom"] * 2
    assert ("li", {"class": "user"}) in page.elements
    assert ("li", {"class": "agent"}) in page.elements
    assert page.all("dt") == [*("reference", "parrot", "mute"), *("reference", "reference", "parrot", "mute")]
    assert page.all("dd") == ["Her lamp broke.", "(empty)", "Her lamp broke.", "A lamp.", "(empty)"]
    assert text_of_summaries(page).count("My lamp is broken") == 2


def text_of_summaries(page):
    return "|".join(text for inside, text in page.texts if inside in ("span", "mark", "u"))


def test_the_first_case_is_open_and_the_others_are_folded(page_of):
    page = Page(page_of([chat(1), chat(2)]))
    assert ["open" in one for tag, one in page.elements if tag == "details"] == [True, False]


def graded(count):
    """Dialogues of which the system below says the first N words of the reference's N + 10."""
    words = " ".join(f"word{number}" for number in range(count + 10))
    return [chat(number, text=" ".join(words.split()[: number + 1]), reference=words) for number in range(count)]


def test_the_worst_the_median_and_the_best_are_shown_and_each_once(page_of):
    dialogues = graded(60)
    random.Random(1).shuffle(dialogues)
    found = cases(Page(page_of(dialogues)))
    assert found[:8] == [(f"chat-{number}", "0worst") for number in range(8)]
    assert sorted(found[8:14]) == [(f"chat-{number}", "0median") for number in range(27, 33)]
    assert found[14:] == [(f"chat-{number}", "0best") for number in range(59, 55, -1)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 17, 18])
def test_a_small_set_is_shown_whole(page_of, count):
    found = cases(Page(page_of(graded(count))))
    assert len({identity for identity, _ in found}) == len(found) == count
    assert found[0] == ("chat-0", "0worst")


def test_several_systems_share_the_room_and_say_whose_case_it_is(page_of):
    systems = {"short": first_words(3), "parrot": first_words(100)}
    page = Page(page_of(graded(40), systems))
    tags = " ".join(tags for _, tags in cases(page)).split()
    assert [tags.count(f"{system}worst") for system in (0, 1)] == [4, 4]
    assert any("worst of short" in text for text in page.all("span"))


def test_a_dialogue_that_was_not_scored_is_not_shown(page_of, tmp_path):
    dialogues = [chat(1), chat(2)]
    only = ReportSystem("parrot", evaluation(dialogues[:1], lambda one, role: "A lamp."))
    write_report(tmp_path / "report.html", "A title", [only], dialogues)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.all("summary") == ["chat-1"]


def test_a_runs_loss_is_drawn_as_a_curve(page_of, tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    rows = [
        {"step": 5, "loss": 3.0},
        {"step": 10, "loss": 2.0},
        {"step": 10, "eval_loss": 2.5},
        {"step": 15, "loss": 1},
    ]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = Page(page_of([chat(1)], metrics=metrics))
    assert (page.open, page.mismatches) == ([], [])
    (path,) = [attributes["d"] for tag, attributes in page.elements if tag == "path"]
    points = [tuple(map(float, point.split())) for point in path.removeprefix("M").split("L")]
    first, second = (later[0] - earlier[0] for earlier, later in pairwise(points))
    assert first == pytest.approx(second, abs=0.11)
    assert first > 100
    assert points[0][1] < points[1][1] < points[2][1]  # downwards on a screen is a growing y
    (square,) = [one["points"] for tag, one in page.elements if one.get("class") == "mark c1"]
    corners = [tuple(map(float, corner.split(","))) for corner in square.split()]
    across, down = (sum(axis) / 4 for axis in zip(*corners, strict=True))
    assert across == pytest.approx(points[1][0], abs=0.1)
    assert points[0][1] < down < points[1][1]
    assert {"step 5", "step 15"} <= set(page.all("text"))


@pytest.mark.parametrize("rows", [None, "", '{"step": 5, "loss": 3.0}\n'])
def test_without_at_least_two_losses_there_is_no_curve(page_of, tmp_path, rows):
    metrics = tmp_path / "metrics.jsonl"
    if rows is not None:
        metrics.write_text(rows)
    assert "svg" not in Page(page_of([chat(1)], metrics=metrics)).tags()


def test_the_facts_of_the_run_stand_at_the_foot(page_of):
    cells = Page(page_of([chat(1)], metadata={"engine": "parrot 1", "limit": 3})).all("td")
    assert cells[-4:] == ["engine", "parrot 1", "limit", "3"]


def test_plots_need_more_than_a_few_summaries_and_say_in_words_what_they_show(page_of):
    assert "svg" not in Page(page_of(graded(4))).tags()
    page = Page(page_of(graded(30), {"short": first_words(3), "parrot": first_words(100)}))
    labels = [one["aria-label"] for tag, one in page.elements if tag == "svg"]
    assert labels[0].startswith("Histograms of scores. short: mean ")
    assert labels[1].startswith("R-1 by length in words. short: ")
    assert "parrot: " in labels[1]


def test_each_systems_marks_differ_in_shape_and_not_in_color_alone(page_of):
    page = Page(page_of(graded(30), {name: first_words(place + 2) for place, name in enumerate("abc")}))
    shapes = {one["class"].split()[1]: tag for tag, one in page.elements if one.get("class", "").startswith("mark c")}
    corners = {
        one["class"].split()[1]: len(one["points"].split())
        for tag, one in page.elements
        if tag == "polygon" and one["class"].startswith("mark")
    }
    assert shapes["c0"] == "circle"
    assert corners == {"c1": 4, "c2": 3}


def test_checks_stand_beside_the_references_and_their_flags_are_underlined_with_the_turns_of_the_evidence(page_of):
    dialogues = [chat(number, reference="Her lamp broke.") for number in range(3)]
    says = {"liar": lambda one, role: "My lamp is broken. It cost 37 dollars."}
    text = page_of(dialogues, says, checked=True)
    page = Page(text)
    assert page.all("h2") == ["Scores", "Checks", "Plots", "Cases"]
    assert "references" in page.all("th")
    assert any("37" in flagged for flagged in page.all("u"))
    assert ("span", {"class": "s", "data-turns": "1"}) in page.elements
    assert "1" in page.all("sup")
    assert any(one.get("data-marks") for _, one in page.elements)
    assert any(note for tag, one in page.elements if tag == "u" for note in [one.get("title")])


def test_a_comparison_shows_differences_and_the_cases_that_changed_most(page_of):
    dialogues = graded(20)
    names = {"short": first_words(2), "parrot": first_words(100)}
    rows = compare_evaluations(list(names), [evaluation(dialogues, write) for write in names.values()])
    page = Page(page_of(dialogues, names, comparisons=rows))
    assert "user: parrot against short" in page.all("h3")
    row = next(row for row in rows if row.measure == "rouge1")
    assert rounded(row.comparison.difference, row.comparison.pairs, "+") in page.all("td")
    assert f"{row.p_adjusted:.4f}" in page.all("td")
    gains = [identity for identity, tags in cases(page) if "1gain" in tags.split()]
    assert {"chat-19", "chat-18"} <= set(gains)
    assert not any("1loss" in tags.split() for _, tags in cases(page))


def test_without_the_dialogues_a_page_still_has_scores_and_summaries(tmp_path):
    found = ReportSystem("parrot", evaluation(graded(6), lambda one, role: one.turns[0].text))
    write_report(tmp_path / "report.html", "A title", [found], [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "ol" not in page.tags()
    assert len(cases(page)) == 6


def test_a_system_that_lacks_a_role_has_no_row_for_it(tmp_path):
    both, one = chats_of_two_roles(1, 2), [chat(1), chat(2)]
    systems = [
        ReportSystem(name, evaluation(of, lambda one, role: "A lamp.")) for name, of in (("a", both), ("b", one))
    ]
    rows = {table["role"]: [row["system"] for row in table["rows"]] for table in score_tables(systems)}
    assert rows == {"user": ["a", "b"], "overall": ["a"]}
    write_report(tmp_path / "report.html", "A title", systems, both)


def test_systems_of_different_scorers_never_share_a_table():
    dialogues = [chat(1), chat(2)]
    one = evaluation(dialogues, lambda one, role: "A lamp.")
    other = replace(one, scores=score_roles(one.predictions, "hf"))
    tables = score_tables([ReportSystem("a", one), ReportSystem("b", other)])
    assert [(table["scorer"].split()[0], len(table["rows"])) for table in tables] == [("samsum", 1), ("hf", 1)]


def test_measures_of_models_stand_with_their_facts(page_of, tmp_path):
    found = evaluation([chat(1), chat(2)], lambda one, role: "A lamp.")
    score = ModelScore("bertscore", {"model": "tiny", "unit": "percent"}, {"f1": [60.0, 70.0]})
    write_report(
        tmp_path / "r.html",
        "A title",
        [ReportSystem("a", replace(found, model_scores={"user": {"bertscore": score}}))],
        [],
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert {"bertscore f1", "65.00"} <= set(page.all("td"))
    assert any("model tiny" in note for note in page.all("p"))


def test_a_sentence_that_no_turn_supports_is_marked_as_such(page_of):
    texts = {"inventor": lambda one, role: f"{one.turns[0].text}. Zebras sang in Zanzibar."}
    page = page_of(chats_of_two_roles(1, 2), texts, checked=True)
    assert page.count("<sup>no evidence</sup></span>") == 4


@pytest.mark.parametrize(("data", "published"), [("csds/test.json", 27), ("csds/val_reconstructed.json", 0)])
def test_published_rows_stand_beside_the_same_data_only_and_a_page_of_it_stays_small(shared, tmp_path, data, published):
    dialogues = read_dialogues(str(shared / "data" / data))
    found = ReportSystem("first turn", evaluation(dialogues, lambda one, role: one.turns[0].text))
    write_report(tmp_path / "report.html", "A title", [found], dialogues)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sum(len(table["published"]) for table in score_tables([found])) == published
    assert ("CSDS authors' repository" in " ".join(Page(text).all("p"))) == bool(published)
    assert len(text.encode()) < 1_000_000
