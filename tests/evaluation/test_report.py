import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.evaluation.evaluate import Evaluation, Prediction, score_roles
from rolesum.evaluation.report import SHOWN_DIALOGUES, System, write_report

EVIL = """<script>alert("1")</script><img src=x onerror='go()'>&amp; {{ 7 * 7 }}"""
NEVER_CLOSED = {"meta", "br", "img", "link", "input", "hr"}
BY_ITSELF = re.compile(r"\b(?:href|src|srcset|action|data|poster|xlink:href)\s*=|url\(|@import|https?://")


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, texts, and whether all tags match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open, self.mismatches = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in NEVER_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mismatches.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def tags(self):
        return [tag for tag, _ in self.elements]

    def all(self, tag):
        return [text for inside, text in self.texts if inside == tag]


def chat(number, text="My lamp is broken", reference="Her lamp broke.", **more):
    return Dialogue(
        id=f"chat-{number}",
        turns=(Turn("Anna", text), Turn("Tom", "Sorry")),
        roles={"Anna": "user", "Tom": "agent"},
        summaries={"user": (reference,), **more},
    )


def chats_of_two_roles(*numbers):
    return [chat(number, overall=("Her lamp broke.", "A lamp.")) for number in numbers]


def evaluation(dialogues, write):
    predictions = [
        Prediction(one.id, role, write(one, role), tuple(texts))
        for one in dialogues
        for role, texts in one.summaries.items()
    ]
    scorer = "csds" if dialogues[0].language == "zh" else "samsum"
    return Evaluation(tuple(predictions), score_roles(predictions, scorer), {})


@pytest.fixture
def page_of(tmp_path):
    """Writes a report and gives its text."""

    def write(dialogues, systems=None, title="A title", **more):
        made = systems or {"parrot": lambda one, role: one.turns[0].text}
        columns = [System(name, evaluation(dialogues, made[name])) for name in made]
        path = tmp_path / "new" / "report.html"
        write_report(path, title, columns, dialogues, **more)
        return path.read_text(encoding="utf-8")

    return write


def test_a_page_is_whole_and_every_tag_is_closed(page_of):
    text = page_of([chat(number) for number in range(3)], about={"engine": "parrot"})
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert (page.open, page.mismatches) == ([], [])
    assert page.tags().count("h1") == 1
    assert page.all("title") == page.all("h1") == ["A title"]
    assert page.all("h2") == ["Scores", "Dialogues", "How it was made"]
    assert ("meta", {"charset": "utf-8"}) in page.elements


def test_the_page_needs_nothing_from_outside(page_of):
    text = page_of([chat(1)], about={"engine": "parrot"})
    assert BY_ITSELF.findall(text) == []
    assert not {"script", "link", "iframe", "img", "object", "embed", "base"} & set(Page(text).tags())


def test_an_address_that_somebody_typed_stays_a_text_and_becomes_no_link(page_of):
    page = Page(page_of([chat(1, text="see https://example.org/a")]))
    assert "see https://example.org/a" in page.all("p")
    assert not {"a", "link", "img"} & set(page.tags())


def test_nothing_that_comes_from_data_is_ever_markup(page_of):
    dialogue = Dialogue(
        id=EVIL,
        turns=(Turn(EVIL, EVIL), Turn("Tom", "Sorry for the lamp")),
        roles={EVIL: 'user" onclick="go()'},
        summaries={EVIL: (EVIL,)},
    )
    text = page_of([dialogue], {EVIL: lambda one, role: EVIL}, EVIL, about={EVIL: EVIL})
    page = Page(text)
    assert not {"script", "img"} & set(page.tags())
    assert (page.open, page.mismatches) == ([], [])
    assert {name for _, attributes in page.elements for name in attributes if name.startswith("on")} == set()
    for tag in ("title", "h1", "h3", "summary", "b", "p", "dt", "dd", "td"):
        assert EVIL in page.all(tag), tag


def test_each_role_has_a_table_with_a_row_for_each_system_and_its_figures(page_of):
    dialogues = chats_of_two_roles(1, 2)
    systems = {"parrot": lambda one, role: one.turns[0].text, "oracle": lambda one, role: one.summaries[role][0]}
    page = Page(page_of(dialogues, systems))
    assert page.all("h3")[:2] == ["user", "overall"]
    assert page.all("th")[:5] == ["system", "R-1", "R-2", "R-L", "R-Lsum"]
    cells = page.all("td")
    scores = evaluation(dialogues, systems["parrot"]).scores
    row = [f"{scores['user'].means[measure]:.2f}" for measure in ("rouge1", "rouge2", "rougeL", "rougeLsum")]
    assert cells[:6] == ["parrot", *row, "oracle"]
    assert cells[6:10] == ["100.00"] * 4
    assert "100.0 – 100.0" in page.all("span")


def test_each_table_says_by_which_scorer_over_how_many_summaries_and_references(page_of):
    notes = [note for note in Page(page_of(chats_of_two_roles(1, 2))).all("p") if note.startswith("scorer")]
    assert len(notes) == 2
    assert all(re.match(r"scorer samsum v\d+ \(rouge-score [\d.]+\), 2 summaries", note) for note in notes)
    assert ["mean over several references" in note for note in notes] == [False, True]


def test_a_chinese_page_says_so_and_has_bleu(page_of):
    text = page_of([chat(1, text="我的台灯坏了", reference="用户说台灯坏了。")])
    assert Page(text).elements[0] == ("html", {"lang": "zh"})
    assert "BLEU" in Page(text).all("th")
    assert "用户说台灯坏了。" in text


def test_a_dialogue_stands_with_its_references_and_every_systems_summary(page_of):
    systems = {"parrot": lambda one, role: one.turns[0].text, "mute": lambda one, role: ""}
    page = Page(page_of(chats_of_two_roles(1), systems))
    assert page.all("b") == ["Anna", "Tom"]
    assert ("p", {"class": "turn user"}) in page.elements
    assert ("p", {"class": "turn agent"}) in page.elements
    assert page.all("dt") == [*("reference", "parrot", "mute"), *("reference", "reference", "parrot", "mute")]
    assert page.all("dd") == [
        *("Her lamp broke.", "My lamp is broken", "(empty)"),
        *("Her lamp broke.", "A lamp.", "My lamp is broken", "(empty)"),
    ]


def test_the_first_dialogue_is_open_and_the_others_are_folded(page_of):
    page = Page(page_of([chat(1), chat(2)]))
    assert [attributes for tag, attributes in page.elements if tag == "details"] == [{"open": None}, {}]
    assert page.all("summary") == ["chat-1", "chat-2"]


@pytest.mark.parametrize("count", [1, SHOWN_DIALOGUES, SHOWN_DIALOGUES + 5, 3 * SHOWN_DIALOGUES - 1, 100])
def test_a_few_dialogues_are_shown_and_spread_evenly_over_the_file(page_of, count):
    page = Page(page_of([chat(number) for number in range(count)]))
    shown = [int(identity.removeprefix("chat-")) for identity in page.all("summary")]
    assert len(shown) == min(count, SHOWN_DIALOGUES)
    assert any(note.startswith(f"{len(shown)} of {count},") for note in page.all("p"))
    steps = [later - earlier for earlier, later in pairwise(shown)]
    assert max(steps, default=1) - min(steps, default=1) <= 1
    assert shown[0] + count - 1 - shown[-1] <= -(-count // SHOWN_DIALOGUES)


def test_a_dialogue_that_was_not_scored_is_not_shown(page_of, tmp_path):
    dialogues = [chat(1), chat(2)]
    only = System("parrot", evaluation(dialogues[:1], lambda one, role: "A lamp."))
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
    assert [round(later[0] - earlier[0]) for earlier, later in pairwise(points)] == [283, 283]
    assert points[0][1] < points[1][1] < points[2][1]  # downwards on a screen is a growing y
    (circle,) = [attributes for tag, attributes in page.elements if tag == "circle"]
    assert float(circle["cx"]) == points[1][0]
    assert points[0][1] < float(circle["cy"]) < points[1][1]
    assert {"step 5", "step 15"} <= set(page.all("text"))


@pytest.mark.parametrize("rows", [None, "", '{"step": 5, "loss": 3.0}\n'])
def test_without_at_least_two_losses_there_is_no_curve(page_of, tmp_path, rows):
    metrics = tmp_path / "metrics.jsonl"
    if rows is not None:
        metrics.write_text(rows)
    assert "svg" not in Page(page_of([chat(1)], metrics=metrics)).tags()


def test_the_facts_of_the_run_stand_at_the_foot(page_of):
    cells = Page(page_of([chat(1)], about={"engine": "parrot 1", "limit": 3})).all("td")
    assert cells[-4:] == ["engine", "parrot 1", "limit", "3"]
