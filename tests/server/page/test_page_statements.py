"""Doubtful statements on the page in a headless Chromium: how they are marked, what is said about them, the switch."""

import json
import re

import pytest

from helpers.browser import browser  # noqa: F401
from helpers.scripted_engine import CHAT, WritingEngine
from helpers.served_engine import serving_engine
from rolesum.generation.verification import Verifier

TRANSCRIPT = "\n".join(f"{turn.speaker}: {turn.text}" for turn in CHAT.turns)
FIRST, SECOND = "The customer has a broken lamp.", "Tom sends 45 new ones on Monday."
TEXTS = {"overall": f"{FIRST} {SECOND}", "user": "The lamp broke.", "agent": "Tom is sorry."}
# The contrast (WCAG 2) of a color variable with the background of a panel.
CONTRAST = """(name) => {
  const light = (color) => {
    const probe = document.createElement("i");
    probe.style.color = color;
    document.body.append(probe);
    const parts = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map((one) => Number(one) / 255);
    probe.remove();
    const [r, g, b] = parts.map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pair = [light(`var(${name})`), light("var(--panel)")].sort((one, other) => other - one);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}"""


@pytest.fixture(scope="module")
def support():
    """Of the two statements of the overall summary."""
    return Verifier(WritingEngine(TEXTS)).verify(CHAT, [FIRST, SECOND])


@pytest.fixture(scope="module")
def doubtful(support):
    return (FIRST, SECOND)[support.index(min(support))]


@pytest.fixture(scope="module")
def service(support, tmp_path_factory):
    """A service whose texts are known, and of which one of two statements is doubtful."""
    engine = WritingEngine(TEXTS, {"verify": {"weight": 1, "threshold": sum(support) / 2}})
    with serving_engine(engine, tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(params=[{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}}])
def page(request, browser, service):  # noqa: F811
    opened = browser.new_page(accept_downloads=True, **request.param)
    opened.faults = []
    opened.on("console", lambda one: opened.faults.append(one.text) if one.type == "error" else None)
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.goto(service.url)
    opened.wait_for_selector("#roles input")
    yield opened
    assert not opened.faults
    opened.close()


def summarize(page, roles=("overall",), verify=None, transcript=TRANSCRIPT):
    page.fill("#text", transcript)
    page.click("#read")
    page.wait_for_selector("#chat li")
    for box in page.locator("#roles input").all():
        box.set_checked(box.get_attribute("value") in roles)
    if verify:
        page.locator("details:has(#verify) summary").click()
        page.select_option("#verify", verify)
    page.click("#go")
    page.wait_for_selector("#after:not([hidden])", timeout=60_000)


def test_a_doubtful_statement_is_marked_and_says_why_to_the_pointer(page, doubtful, support):
    summarize(page, verify="flag")
    marked = page.locator(".sentence.doubtful")
    assert marked.count() == 1 and marked.inner_text().startswith(doubtful)
    assert marked.locator(".mark").inner_text() == "?" and "(doubtful)" in marked.inner_text()
    assert "dotted" in marked.evaluate(
        "one => getComputedStyle(one).textDecorationLine + getComputedStyle(one).textDecorationStyle"
    )
    assert page.locator(".verdict").inner_text() == "? Doubtful statements: 1 of 2"
    assert "onfidence" not in page.locator(".card").inner_text()
    assert page.locator(".why:visible").count() == 0
    marked.hover()
    panel = page.locator(".why:visible")
    said = panel.inner_text()
    assert "Marked, because the model is not sure enough that the dialogue says this." in said
    shown, under = re.search(r"Support ([\d.]+)%: how likely it is.* Under ([\d.]+)% it is doubtful", said).groups()
    assert float(shown) == pytest.approx(100 * min(support), abs=0.5) and float(shown) < float(under)
    assert panel.locator("a").all_inner_texts() == [f"turn {1 if doubtful == FIRST else 2}"]
    panel.locator("a").hover()  # it stays for the pointer
    panel.locator("a").click()
    turn = page.locator("#chat li.evidence")
    assert turn.get_attribute("id") == f"turn-{1 if doubtful == FIRST else 2}"
    assert page.evaluate("document.activeElement.id") == turn.get_attribute("id")
    page.mouse.move(5, 5)
    page.keyboard.press("Escape")
    assert page.locator(".why:visible").count() == 0


def test_times_are_shown_in_the_transcript_and_cited_in_place_of_turn_numbers(page, doubtful):
    timed = "\n".join(f"[0{n}:05] {turn.speaker}: {turn.text}" for n, turn in enumerate(CHAT.turns, 1))
    summarize(page, verify="flag", transcript=timed)
    assert page.locator("#chat .when").all_inner_texts() == ["01:05", "02:05"]
    page.locator(".sentence.doubtful").click()
    link = page.locator(".why:visible a")
    assert link.all_inner_texts() == ["01:05" if doubtful == FIRST else "02:05"]
    link.click()
    assert page.evaluate("document.activeElement.id") == f"turn-{1 if doubtful == FIRST else 2}"


def test_flags_without_a_model_stay_beside_it(page):
    summarize(page, verify="flag")
    assert page.locator(".flagged").inner_text().strip(" .?") == "45"
    assert page.locator(".flags button").inner_text() == "⚠ 45: the dialogue does not say 45"
    flagged = page.locator(".sentence:has(.flagged)")
    flagged.click()
    assert "Checks without a model: the dialogue does not say 45" in page.locator(".why:visible").inner_text()


def test_the_keyboard_reaches_the_reason_and_the_turns(page):
    summarize(page, verify="flag")
    marked = page.locator(".sentence.doubtful")
    marked.focus()
    assert page.locator(".why:visible").count() == 1 and marked.get_attribute("aria-expanded") == "true"
    described = page.locator(f"#{marked.get_attribute('aria-describedby')}")
    assert described.inner_text().startswith("Marked, because")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.why a')")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.matches('.doubtful')") and page.locator(".why:visible").count() == 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.matches('#chat li.evidence')")
    other = page.locator(".sentence:not(.doubtful)")
    other.focus()
    assert other.get_attribute("aria-expanded") == "false"  # what is not doubtful says why when it is asked
    page.keyboard.press(" ")
    assert "The model finds that the dialogue says this." in page.locator(".why:visible").inner_text()


@pytest.mark.parametrize(
    "page", [{"locale": "zh-CN", "viewport": {"width": 375, "height": 700}, "has_touch": True}], indirect=True
)
def test_a_tap_on_a_phone_shows_the_reason_and_a_link_scrolls_to_the_turn(page):
    summarize(page, verify="flag")
    assert page.locator(".verdict").inner_text() == "? 存疑的陈述：2 条中有 1 条"
    page.locator(".sentence.doubtful").tap()
    panel = page.locator(".why:visible")
    assert "已标出" in panel.inner_text() and "支持度" in panel.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    panel.locator("a").first.tap()
    assert page.locator("#chat li.evidence").evaluate(
        "one => { const { top, bottom } = one.getBoundingClientRect(); return top >= 0 && bottom <= innerHeight; }"
    )
    page.locator(".sentence.doubtful").tap()
    assert page.locator(".why:visible").count() == 0


def test_the_switch_turns_verifying_off_and_leaves_doubtful_statements_out(page, doubtful):
    summarize(page, verify="drop")
    left = page.locator(".card .note:has(ul)").inner_text()
    assert "Left out, as the dialogue may not say it:" in left and doubtful in left
    assert re.search(r"\(support [\d.]+%\)", left)
    assert doubtful not in page.locator(".card p").inner_text()
    assert page.locator(".verdict").inner_text() == "Doubtful statements: none of 1"
    with page.expect_download() as told:
        page.click("#markdown")
    assert f"> Left out, as the dialogue may not say it: {doubtful}" in told.value.path().read_text()
    page.select_option("#verify", "off")
    page.click("#go")
    page.wait_for_selector("#stop", state="hidden")
    page.wait_for_selector(".card:not(.growing)")
    assert page.locator(".verdict, .doubtful").count() == 0 and doubtful in page.locator(".card p").inner_text()
    page.locator(".sentence").first.click()
    assert "These turns have most of its words." in page.locator(".why:visible").inner_text()


# The second turn, quoted for either statement, and the first, which holds the matter, for the first statement alone.
MONDAY, LAMP = "Agent: “Sorry! Tom sends a new one on Monday.”", "Customer: “My lamp broke, call 020 7946 0958.”"


def test_unless_chosen_otherwise_the_dialogue_is_quoted_and_a_quote_leads_to_its_turn(page, doubtful):
    choice = page.locator("#verify")
    assert choice.input_value() == "quote" == choice.locator("option").first.get_attribute("value")
    assert choice.locator("option").first.text_content() == "quote the dialogue instead"
    summarize(page)
    quotes = page.locator(".sentence.quote")
    assert quotes.all_inner_texts() == [LAMP, MONDAY][doubtful == SECOND :]
    quote = quotes.last
    text = page.locator(".card p").inner_text()
    (other,) = {FIRST, SECOND} - {doubtful}
    assert doubtful not in text and other in text and page.locator(".doubtful, .mark").count() == 0
    assert page.locator(".verdict").inner_text() == "Statements replaced by quotes: 1"
    assert page.locator(".card .note:has(ul)").count() == 0
    plain, own = (
        page.locator(one).first.evaluate("one => getComputedStyle(one).backgroundColor")
        for one in (".sentence:not(.quote)", ".sentence.quote")
    )
    assert own != plain
    quote.hover()
    assert page.locator(".why:visible").count() == 0  # it is no warning
    quote.click()
    panel = page.locator(".why:visible")
    said = "Said in the dialogue, word for word. It stands for what the model wrote and was not sure of."
    assert panel.inner_text().split("\n")[0] == said and "upport" not in panel.inner_text()
    assert panel.locator("a").all_inner_texts() == ["turn 2"]
    turn = page.locator("#chat li.evidence")
    assert turn.get_attribute("id") == "turn-2"
    panel.locator("a").click()
    assert page.evaluate("document.activeElement.id") == "turn-2"
    with page.expect_download() as told:
        page.click("#markdown")
    written = told.value.path().read_text()
    assert "\n> Quotes stand for what the dialogue may not say (1).\n" in written and doubtful not in written
    assert MONDAY in written


@pytest.mark.parametrize(
    "page", [{"locale": "zh-CN", "viewport": {"width": 375, "height": 700}, "has_touch": True}], indirect=True
)
def test_a_quote_of_a_dialogue_with_times_names_the_time_on_a_phone(page):
    timed = "\n".join(f"[0{n}:05] {turn.speaker}: {turn.text}" for n, turn in enumerate(CHAT.turns, 1))
    summarize(page, transcript=timed)
    assert page.locator("#verify option").first.text_content() == "改为引用原话"
    assert page.locator(".verdict").inner_text() == "改为引用的陈述：1 条"
    page.locator(".sentence.quote").last.tap()
    panel = page.locator(".why:visible")
    assert panel.inner_text().startswith("对话原话，代替模型写了但没有把握的内容。")
    assert panel.locator("a").all_inner_texts() == ["02:05"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_copied_text_and_the_line_above_a_text_say_how_many_statements_quotes_stand_for(page):
    summary = {
        "text": "A: “Hi.”",
        "role": "user",
        "support_threshold": 0.5,
        "statements": [],
        "dropped": [{"text": "x", "support": 0.1}, {"text": "y", "support": 0.9}],
        "quotes": [{"start": 0, "end": 8, "turn": 0, "time": ""}],
    }
    said = page.evaluate(
        """async (summary) => {
          const { asMarkdown } = await import("/page/results.js");
          const { doubtNotes, verdictLine } = await import("/page/statements.js");
          const markdown = asMarkdown([{ id: "c", summaries: [summary] }]);
          const unknown = { ...summary, statements: [{ text: "z", support: null }] };
          const left = { ...summary, quotes: [] };
          const marked = { ...left, statements: [{ text: "w", support: 0.2 }], dropped: [] };
          return [
            markdown, verdictLine(summary).textContent, verdictLine(unknown).textContent,
            doubtNotes([summary, summary]), doubtNotes([marked, left]),
          ];
        }""",
        summary,
    )
    quoted = "Statements replaced by quotes: 2"
    left = "x (support 10%); y (support 90%); left out with its sentence"
    assert said == [
        f"# c\n\n### user\n\nA: “Hi.”\n\n> {quoted}\n",
        quoted,
        f"not verified: 1 · {quoted}",
        "Statements replaced by quotes: 4",
        f"w (support 20%); Left out, as the dialogue may not say it: {left}",
    ]


PERCENTAGES = (  # support, threshold, shown
    (0.214, 0.5, "21"),
    (0.49996, 0.5, "49.996"),
    (0.5, 0.5, "50"),
    (0.29, 0.29, "29"),
    (0.8735, 0.874, "87"),
    (0.8741, 0.874, "87.4"),
    (0.998, 0.5, "99"),
    (0.996, 0.995, "99.6"),
    (1, 0.5, "100"),
)


def test_a_percentage_shows_on_which_side_of_the_threshold_it_is(page):
    summaries = [
        {"support_threshold": threshold, "dropped": [{"text": "x", "support": support}]}
        for support, threshold, _ in PERCENTAGES
    ]
    words = page.evaluate(
        """async (summaries) => {
          const { droppedWords } = await import("/page/statements.js");
          return summaries.map((one) => droppedWords(one)[0].split(";")[0]);
        }""",
        summaries,
    )
    assert words == [f"x (support {shown}%)" for _, _, shown in PERCENTAGES]


def test_files_name_the_doubtful_statements(page, doubtful):
    summarize(page, verify="flag")
    with page.expect_download() as told:
        page.click("#markdown")
    written = told.value.path().read_text()
    assert f"> The dialogue may not say: {doubtful} (support " in written
    assert "### Evidence\n" in written and "\n## Transcript\n\nturn 1 **Customer:** My lamp broke" in written
    with page.expect_download() as told:
        page.click("#docx")
    assert told.value.suggested_filename == "summaries.docx" and told.value.path().read_bytes()[:2] == b"PK"


def test_a_batch_quotes_and_its_table_and_file_say_for_how_many_statements(page, doubtful, tmp_path):
    file = tmp_path / "chats.jsonl"
    turns = [{"speaker": turn.speaker, "text": turn.text} for turn in CHAT.turns]
    file.write_text(json.dumps({"id": "c-1", "turns": turns}) + "\n")
    page.click("#tab-many")
    page.set_input_files("#manyfile", file)
    page.click("#manystart")
    page.wait_for_selector("#batches progress[value='1']", timeout=60_000)
    said = page.locator("#table td:has-text('Statements replaced by quotes: ')")
    said.wait_for()
    assert "Left out" not in said.inner_text() and doubtful not in page.locator("#table").inner_text()
    assert page.locator(f"#table td:has-text('{MONDAY}')").count() >= 1
    with page.expect_download() as told:
        page.click("#csv")
    head, line = told.value.path().read_bytes().decode("utf-8-sig").split("\r\n")[:2]
    assert '"doubtful"' in head and f',"{said.inner_text()}",' in line


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_of_text_have_enough_contrast(browser, service, scheme):  # noqa: F811
    page = browser.new_page(color_scheme=scheme)
    page.goto(service.url)
    for name in ("--ink", "--soft", "--main", "--warn", "--doubt", "--flag"):
        assert page.evaluate(CONTRAST, name) >= 4.5, name
    page.close()


def test_a_model_that_does_not_verify_leaves_the_switch_without_effect(browser, tmp_path):  # noqa: F811
    with serving_engine(WritingEngine(TEXTS, {}), tmp_path) as service:
        page = browser.new_page(locale="en-GB")
        page.goto(service.url)
        page.wait_for_selector("#roles input")
        summarize(page)
        assert page.locator("#verify").is_disabled()
        assert page.locator("#cannotverify").text_content() == "tiny cannot tell which are doubtful"
        assert page.locator(".card").count() == 1 and page.locator(".verdict, .doubtful").count() == 0
        page.close()
