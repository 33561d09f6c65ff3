"""The report as a reader has it: in Chromium, wide and narrow, light and dark, with keyboard and on paper."""

import re

import pytest

from helpers.browser import browser  # noqa: F401
from rolesum.checks.statements import split_statements
from rolesum.dialogue import SummaryStatement
from rolesum.evaluation.compare import compare_evaluations
from rolesum.evaluation.evaluate import add_checks
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.formats import read_dialogues

PHONE = {"width": 390, "height": 844}


def statements(text):
    """The statements of a text, of which every third is doubtful."""
    return tuple(
        SummaryStatement(one.start, one.end, one.text, 0.9 if place % 3 else 0.1, (0,))
        for place, one in enumerate(split_statements(text, "zh"))
    )


def system(name, dialogues, write):
    predictions = [
        Prediction(one.id, role, write(one), tuple(texts), statements=statements(write(one)), support_threshold=0.5)
        for one in dialogues
        for role, texts in one.summaries.items()
    ]
    return ReportSystem(name, add_checks(Evaluation(tuple(predictions), score_roles(predictions), {}), dialogues))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A comparison of two systems on the bundled Chinese dialogues."""
    dialogues = read_dialogues("sample:zh-test")
    systems = [
        system("first", dialogues, lambda one: one.turns[0].text),
        system("last, and a long name for a phone", dialogues, lambda one: one.turns[-1].text + "一共37元。"),
    ]
    rows = compare_evaluations([one.name for one in systems], [one.evaluation for one in systems])
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, "Two systems", systems, dialogues, comparisons=rows, metadata={"command": "rolesum compare a b"})
    return path.as_uri()


@pytest.fixture
def opened(browser, address):  # noqa: F811
    """Opens the page; what the browser complains of, and what it asks for from outside, is an error."""
    pages, faults = [], []

    def open_page(**more):
        page = browser.new_page(**more)
        pages.append(page)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url) if request.url != address else None)
        page.goto(address)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []


def shown(page):
    return page.locator(".case:visible").count()


def test_nothing_is_wider_than_a_phone(opened):
    page = opened(viewport=PHONE)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    sizes = page.evaluate(
        """[...document.querySelectorAll("svg")].map(one => {
            const small = [...one.querySelectorAll("text")].map(text => parseFloat(getComputedStyle(text).fontSize));
            return Math.min(...small) * one.getBoundingClientRect().width / one.viewBox.baseVal.width })"""
    )
    assert sizes
    assert min(sizes) > 10  # pixels on the screen


CONTRAST = """(colors) => {
    const channels = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = (text) => channels(text).map(one => one / 255)
        .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
    const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const probe = document.createElement("i");
    document.body.append(probe);
    const read = (name) => { probe.style.color = `var(--${name})`; return light(getComputedStyle(probe).color) };
    return colors.map(([front, back]) => ratio(read(front), read(back)));
}"""


def test_text_and_marks_stand_out_in_both_themes(opened):
    page = opened()
    texts = [(one, back) for one in ("ink", "soft", "good", "bad") for back in ("paper", "shade")]
    on_marks = [("ink", "same"), ("ink", "lit"), *((f"k{number}", "paper") for number in range(6))]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert min(page.evaluate(CONTRAST, [*texts, *on_marks])) >= 4.5, scheme


def test_filters_narrow_the_cases_and_say_how_many_are_left(opened):
    page = opened()
    total = shown(page)
    page.get_by_role("combobox", name="role", exact=True).select_option("user")
    page.get_by_role("combobox", name="kind", exact=True).select_option("worst")
    page.get_by_role("combobox", name="system", exact=True).select_option("first")
    left = shown(page)
    assert 0 < left < total
    tags = page.locator(".case:visible").evaluate_all("all => all.map(one => one.dataset.tags)")
    assert all("0worst" in one.split() for one in tags)
    assert page.locator("output").inner_text() == f"{left} of {total} cases"
    assert page.locator("section:visible h3").all_inner_texts() == ["user"]


def test_a_flag_is_found_by_its_filter_and_underlined_with_a_note(opened):
    page = opened()
    page.get_by_role("combobox", name="flag", exact=True).select_option(index=1)
    assert shown(page) > 0
    case = page.locator(".case:visible").first
    case.evaluate("one => { one.open = true }")
    assert case.locator("u").first.is_visible()
    assert case.locator(".flags li").first.inner_text()


def test_a_doubtful_statement_is_red_and_what_a_check_objects_to_is_not(opened):
    page = opened()
    page.get_by_role("combobox", name="flag", exact=True).select_option("doubtful")
    assert shown(page) > 0
    case = page.locator(".case:visible").first
    case.evaluate("one => { one.open = true }")
    doubt, told = case.locator(".s.doubt").first, case.locator(".flags .doubtful").first
    line = "one => getComputedStyle(one).textDecorationColor"
    red = told.evaluate("one => getComputedStyle(one).color")
    assert doubt.evaluate(line) == page.locator(".worst .doubt").first.evaluate(line) == red
    assert page.locator("u").first.evaluate(line) != red
    assert page.locator(".warning").is_visible() and page.locator("h2").first.inner_text() == "Verdict"


def test_a_sentence_lights_its_turns_by_mouse_and_by_keyboard(opened):
    page = opened()
    page.evaluate("document.querySelectorAll('.case').forEach(one => { one.open = true })")
    sentence = page.locator(".s[role=button]").first
    wanted = re.split(r"\s+", sentence.get_attribute("data-turns"))
    case = page.locator(".case", has=sentence).first
    lit = case.locator(".turns li.lit")
    sentence.focus()
    assert lit.count() == len(wanted)
    sentence.press("Enter")
    sentence.evaluate("one => one.blur()")
    assert lit.count() == len(wanted)
    assert sentence.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert lit.count() == 0
    sentence.click()
    places = case.locator(".turns li").evaluate_all(
        "all => all.flatMap((one, place) => one.classList.contains('lit') ? [String(place + 1)] : [])"
    )
    assert places == wanted


def test_without_scripts_all_cases_stand_there_with_their_turn_numbers_and_no_filter(browser, address):  # noqa: F811
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        assert page.locator(".filters").is_hidden()
        assert shown(page) == page.locator(".case").count() > 0
        assert page.locator(".case[open] sup").count() > 0


def test_paper_is_white_and_has_no_filters_and_no_inner_scrolling(opened):
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".filters").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".turns").first.evaluate("one => getComputedStyle(one).overflowY") == "visible"
