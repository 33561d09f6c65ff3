"""The report's opening: the share of summaries without a doubtful statement, the most doubtful ones, the warning."""

import re
from importlib.resources import files

import pytest

from helpers.report_pages import Page, cases, chat
from rolesum.checks.statements import split_statements
from rolesum.dialogue import SummaryStatement
from rolesum.evaluation.compare import compare_evaluations
from rolesum.evaluation.evaluate import add_checks
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.evaluation.report.marks import mark_sentences
from rolesum.evaluation.report.verdict import most_doubtful, warnings

CHATS = [chat(number, text=f"My lamp {number} is broken", agent=("He is sorry.",)) for number in range(12)]
TEXT = "The lamp is broken. Tom said sorry."
VERIFY = {"verify": {"adapter": "a", "mode": "flag"}}


def verified(dialogues, support, name="parrot", text=TEXT, metadata=VERIFY, checks=False):
    """A system whose statements have the support that `support(number, role, place)` gives; the last turn says them."""
    predictions = []
    for number, one in enumerate(dialogues):
        for role, references in one.summaries.items():
            statements = tuple(
                SummaryStatement(span.start, span.end, span.text, support(number, role, place), (1,))
                for place, span in enumerate(split_statements(text, "en"))
            )
            more = {"statements": statements, "support_threshold": 0.5}
            predictions.append(Prediction(one.id, role, text, tuple(references), **more))
    found = Evaluation(tuple(predictions), score_roles(predictions, "samsum"), metadata)
    return ReportSystem(name, add_checks(found, dialogues) if checks else found)


def rising(number, role, place):
    """Each user's summary is better supported than the one before, and every agent's is supported."""
    return 0.04 * (number + 1) if role == "user" and place == 1 else 0.9


@pytest.fixture
def page_of(tmp_path):
    def write(systems, dialogues=CHATS, **more):
        write_report(tmp_path / "report.html", "A title", systems, dialogues, **more)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_the_report_opens_with_the_share_then_the_scores(page_of):
    text = page_of([verified(CHATS, lambda *at: 0.9 if at[0] < 4 else rising(*at))])
    page = Page(text)
    assert (page.open, page.mismatches) == ([], [])
    assert page.all("h2")[:2] == ["Verdict", "Scores"]
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', text)
    assert re.fullmatch(r"<strong>16 of 24 \(67 %, \d+–\d+\)</strong> summaries have no doubtful statement", lead)
    assert page.all("th")[:4] == ["no doubtful statement", "all", "user", "agent"]
    assert {"67 %", "33 %", "100 %"} <= set(page.all("td"))
    assert {"16 of 24", "4 of 12", "12 of 12"} <= set(page.all("span"))


def test_the_ten_most_doubtful_stand_there_with_their_turns_and_among_the_cases(page_of):
    text = page_of([verified(CHATS, rising)])
    worst = re.search(r'<ol class="worst">(.*?)</ol>', text, re.DOTALL)[1]
    shown = re.findall(r'<span class="doubt">(.*?)</span> <span class="unit">support (\S+) · (\S+), user', worst)
    assert shown == [("Tom said sorry.", f"{0.04 * (number + 1):.2f}", f"chat-{number}") for number in range(10)]
    assert worst.count("<li>turn 2 <b>Tom</b> Sorry</li>") == 10
    doubtful = [identity for identity, tags in cases(Page(text)) if "0doubtful" in tags.split()]
    assert doubtful == [f"chat-{number}" for number in range(10)]
    assert "<option>doubtful</option>" in text and '<option value="doubtful">doubtful</option>' in text


def test_several_systems_have_a_row_each_and_share_the_ten(page_of):
    systems = [verified(CHATS, rising, "first"), verified(CHATS, lambda *_: 0.2, "second")]
    text = page_of(systems)
    worst = re.search(r'<ol class="worst">(.*?)</ol>', text, re.DOTALL)[1]
    assert [worst.count(f", {name}") for name in ("first", "second")] == [5, 5]
    assert worst.count("1 more doubtful in this summary") == 5
    assert re.findall(r'<p class="lead">(\w+): <strong>(\d+ of \d+)', text) == [
        ("first", "12 of 24"),
        ("second", "0 of 24"),
    ]
    assert "do not compare their shares" not in text
    other = verified(CHATS, rising, "second", metadata={"verify": {"adapter": "b"}})
    assert "do not compare their shares" in page_of([systems[0], other])


def test_a_comparison_tests_the_share_beside_the_scores(page_of):
    systems = [verified(CHATS, rising, "first"), verified(CHATS, lambda *_: 0.9, "second")]
    rows = compare_evaluations(["first", "second"], [one.evaluation for one in systems])
    assert [(row.role, row.measure) for row in rows[:3]] == [
        (role, "without_doubt") for role in ("all roles", "user", "agent")
    ]
    assert (rows[0].comparison.a, rows[0].comparison.b, rows[0].comparison.pairs) == (50.0, 100.0, 12)
    assert rows[1].comparison.wins == 12 and rows[2].comparison.difference == 0
    page = Page(page_of(systems, comparisons=rows))
    assert page.all("h3").count("no doubtful statement, %: second against first") == 1
    assert {"all roles", "user", "agent"} <= set(page.all("td"))


def test_without_verified_statements_it_says_that_nothing_is_known(page_of):
    predictions = tuple(Prediction(one.id, "user", TEXT, one.summaries["user"]) for one in CHATS)
    text = page_of([ReportSystem("plain", Evaluation(predictions, score_roles(predictions, "samsum"), {}))])
    assert "No statement was verified" in text and Page(text).all("h2")[0] == "Scores"


def test_doubtful_statements_are_red_in_the_cases_and_told_below_them(page_of):
    text = page_of([verified(CHATS[:1], rising)])
    assert '<span class="s doubt" data-turns="2">' in text
    assert '<b class="doubtful">doubtful</b> Tom said sorry. <span class="unit">support 0.04, turn 2</span>' in text


def test_statements_part_the_text_and_the_pieces_are_the_text():
    statements = [
        SummaryStatement(4, 10, "one", 0.9, (3, 0)),
        SummaryStatement(12, 20, "two", 0.1, (2,)),
        SummaryStatement(20, 24, "three", None),
    ]
    text = "abc defghi, jklmnop qrstuv."
    found = mark_sentences(text, [], statements=statements, threshold=0.5)
    assert "".join(piece.text for one in found for piece in one.pieces) == text
    assert [(one.turns, one.doubt) for one in found] == [
        ((), None),
        ((1, 4), None),
        ((), None),
        ((3,), 0.1),
        ((), None),
        ((), None),
    ]


def test_the_most_doubtful_are_those_with_the_least_supported_statement():
    (system,) = [verified(CHATS[:3], lambda number, role, place: (0.3, 0.1, 0.7)[number] if place else 0.2)]
    found = most_doubtful([one for one in system.evaluation.predictions if one.role == "user"], 5)
    assert [(one.summary.id, one.statement.support, one.others) for one in found] == [
        ("chat-1", 0.1, 1),
        ("chat-0", 0.2, 1),
        ("chat-2", 0.2, 0),
    ]
    assert found[1].statement.text == "The lamp is broken."


def test_few_summaries_are_warned_of_before_any_figure(page_of):
    assert warnings([("user", 30), ("agent", 40)]) == []
    assert warnings([("user", 12), ("agent", 12)]) == [
        "12 summaries of each role are too few for two decimals or a reliable interval: use 30 or more"
    ]
    assert warnings([("user", 3)])[0].startswith("3 summaries are too few")
    assert warnings([("user", 40), ("agent", 9)]) == [
        "agent: 9 summaries are too few for two decimals or a reliable interval: use 30 or more"
    ]
    text = page_of([verified(CHATS, rising, checks=True)])
    assert text.index('<p class="warning">12 summaries of each role are too few') < text.index("<h2>")
    cells = re.findall(r"<td[^>]*>(\d[\d.]*)", text[text.index("<h2>Checks") : text.index("<h2>Plots")])
    assert cells and not any(re.search(r"\.\d\d", cell) for cell in cells)


def test_checks_that_find_nothing_anywhere_are_a_line_and_no_row(page_of):
    text = page_of([verified(CHATS, rising, checks=True)])
    part = text[text.index("<h2>Checks") : text.index("<h2>Plots")]
    (silent, _) = re.findall(r"Nothing found, in the references either: (.*?)\.</p>", part)
    assert "empty" in silent.split(", ") and "repeated sentences" in silent.split(", ")
    headings = re.findall(r"<tr><td>(.*?) ?<", part)
    assert "length" in headings and not set(silent.split(", ")) & set(headings[: len(headings) // 2])


# Color -> what a selector that uses it must name one of.
MEANINGS = {
    "bad": ("doubt",),
    "good": ("reference", "mark"),
    "same": ("mark",),
    "lit": ("lit", ".s["),
    "edge": ("lit",),
}


def test_one_color_has_one_meaning():
    css = files("rolesum.evaluation.report").joinpath("page.css").read_text(encoding="utf-8")
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", css)
    for color, words in MEANINGS.items():
        users = [selector.strip() for selector, body in rules if f"var(--{color})" in body]
        assert users
        for selector in (one for group in users for one in group.split(",")):
            assert any(word in selector for word in words), (color, selector)
    for theme in re.findall(r":root \{([^}]*--k0[^}]*)\}", css):
        colors = dict(re.findall(r"--(\w+): (#\w+)", theme))
        assert len(set(colors.values())) == len(colors)
