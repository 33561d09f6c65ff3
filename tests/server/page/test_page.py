"""The page in a headless Chromium on a real server with the released adapter: paste, read, summarize, look closer."""

import json

import pytest

from helpers.browser import browser  # noqa: F401
from helpers.served import serving
from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.server.auth import new_key

CHAT = """Customer: Hi, my order 4417 was due on Monday and it's still not here.
Agent: I'm sorry about that. It left our depot yesterday and is with the courier now.
Customer: I need it before Friday, it's a birthday present.
Agent: The courier says Thursday before noon. I've marked it as urgent.
Customer: And if it doesn't come?
Agent: Then we refund the £6 delivery fee and send a new one by express."""


@pytest.fixture(scope="module")
def service():
    with serving("--adapter", "rolesum-smollm2-135m", "--extra-model", "smollm2-135m") as running:
        yield running


@pytest.fixture
def page(browser, service):  # noqa: F811
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB", accept_downloads=True)
    opened.faults = []
    opened.on("console", lambda one: opened.faults.append(one.text) if one.type == "error" else None)
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on(
        "request", lambda one: opened.faults.append(one.url) if not one.url.startswith((service.url, "blob:")) else None
    )
    opened.goto(service.url)
    opened.wait_for_selector("#roles input")  # which is drawn last
    yield opened
    opened.close()


def summarize(page):
    page.fill("#text", CHAT)
    page.click("#read")
    page.wait_for_selector("#chat li")
    page.click("#go")
    page.wait_for_selector("#after:not([hidden])", timeout=90_000)


@pytest.mark.embedded
@pytest.mark.slow
def test_a_chat_is_pasted_summarized_and_looked_into(page):
    summarize(page)
    cards = page.locator(".card")
    assert cards.count() == 3
    assert [cards.nth(n).locator("h3").inner_text() for n in range(3)] == ["overall", "user", "agent"]
    assert all(len(cards.nth(n).locator("p").inner_text()) > 20 for n in range(3))
    sentence = page.locator(".sentence").first
    sentence.click()
    assert page.locator("#chat li.evidence").count() >= 1 and sentence.get_attribute("aria-expanded") == "true"
    with page.expect_download() as told:
        page.click("#json")
    found = json.loads(told.value.path().read_text())
    assert [one["role"] for one in found["summaries"]] == ["overall", "user", "agent"]
    with page.expect_download() as told:
        page.click("#markdown")
    assert found["summaries"][0]["text"] in told.value.path().read_text()
    page.locator("#chat .said").nth(1).fill("Another text.")
    page.keyboard.press("Enter")
    assert page.locator("#results.stale").count() == 1  # they are of the text before
    page.click("#back")
    assert cards.count() == 0 and page.locator("#after").is_hidden()  # and of no other dialogue
    assert not page.faults


@pytest.mark.embedded
@pytest.mark.slow
def test_two_models_stand_side_by_side(page):
    page.select_option("#against", "smollm2-135m")
    summarize(page)
    assert page.locator(".card").count() == 6
    assert page.locator("#results.pair").count() == 1
    assert not page.faults


@pytest.mark.embedded
@pytest.mark.slow
def test_everything_is_reached_by_the_keyboard(page):
    page.focus("#text")
    page.keyboard.insert_text(CHAT)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#chat li")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#after:not([hidden])", timeout=90_000)
    page.locator(".sentence").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#chat li.evidence").count() >= 1
    page.focus("#tab-one")
    page.keyboard.press("ArrowRight")
    assert page.locator("#many").is_visible() and page.locator("#tab-many").get_attribute("aria-selected") == "true"
    assert not page.faults


@pytest.mark.embedded
@pytest.mark.slow
def test_the_page_fits_a_phone_and_speaks_chinese(browser, service):  # noqa: F811
    page = browser.new_page(viewport={"width": 375, "height": 800}, locale="zh-CN")
    page.goto(service.url)
    page.wait_for_selector("#roles input")
    assert page.locator("#go").inner_text() == "生成摘要" and page.evaluate("document.documentElement.lang") == "zh"
    summarize(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.select_option("#locale", "en")
    assert page.locator("#back").inner_text() == "New dialogue"
    page.close()


@pytest.mark.embedded
@pytest.mark.slow
def test_many_dialogues_are_uploaded_and_shown_in_a_table(page, tmp_path):
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(to_json(one) + "\n" for one in read_dialogues("sample:en-test")[:4]))
    page.click("#tab-many")
    page.set_input_files("#manyfile", file)
    page.click("#manystart")
    page.wait_for_selector("#table tbody tr:nth-child(4)")
    page.wait_for_selector("#batches progress[value='4']", timeout=120_000)
    page.wait_for_selector("#table tbody:not(:has-text('…'))")
    with page.expect_download() as told:
        page.click("#csv")
    lines = told.value.path().read_bytes().decode("utf-8-sig").split("\r\n")
    assert len(lines) == 6 and lines[0].startswith('"id","overall","user","agent"')
    assert all(len(line) > 100 for line in lines[1:5])
    page.on("dialog", lambda one: one.accept())
    page.get_by_role("button", name="Delete").first.click()
    page.wait_for_selector("#batch", state="hidden")
    assert not page.faults


def test_a_problem_is_shown_with_its_remedy(browser, tmp_path):  # noqa: F811
    with serving("--model", model_dir("llama"), "--dtype", "float32") as service:
        page = browser.new_page(locale="en-GB")
        page.goto(service.url)
        page.wait_for_selector("#roles input")
        page.fill("#text", "no speaker here")
        page.click("#read")
        page.wait_for_selector("#problem:not([hidden])")
        assert "choose the format under “Input options”" in page.locator("#problem").inner_text()
        page.locator("#input details").first.click()
        page.select_option("#input [name=format]", "vtt")
        page.fill("#input [name=unknown_speaker]", "alternate=Anna,Tom")
        page.fill("#text", "WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n\n00:03.000 --> 00:04.000\nhi\n")
        page.click("#read")
        page.wait_for_selector("#chat li")
        assert page.locator("#chat .who").all_inner_texts() == ["1 · Anna 00:01", "2 · Tom 00:03"]
        page.click("#back")
        page.select_option("#input [name=format]", "")
        page.fill("#input [name=unknown_speaker]", "")
        page.fill("#text", "Anna: hello <img src=x onerror=alert(1)>\nTom: hi")
        page.click("#read")
        page.wait_for_selector("#chat li")
        for box in page.locator("#roles input:checked").all():
            box.uncheck()
        page.click("#go")
        assert "Choose a role" in page.locator("#problem").inner_text() and page.locator(".card").count() == 0
        assert page.locator("#chat img").count() == 0 and "<img" in page.locator("#chat").inner_text()
        page.close()


@pytest.fixture(scope="module")
def untrained():
    with serving("--model", model_dir("llama"), "--dtype", "float32") as running:
        yield running


@pytest.fixture
def small_page(browser, untrained):  # noqa: F811
    """The page of a server with an untrained model, whose texts mean nothing."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB", accept_downloads=True)
    opened.goto(untrained.url)
    opened.wait_for_selector("#roles input")
    yield opened
    opened.close()


def test_what_is_typed_is_summarized_without_being_read_first(small_page):
    page = small_page
    assert page.locator("#go").is_disabled() and "Paste or open" in page.locator("#reason").inner_text()
    page.locator("#text").press_sequentially("Customer: late\nAgent: sorry")
    assert page.locator("#go").is_enabled() and page.locator("#reason").is_hidden()
    page.locator("details:has(#length)").locator("summary").click()
    page.fill("#length", "4")
    page.click("#go")
    page.wait_for_selector("#after:not([hidden])", timeout=60_000)
    assert page.locator(".card").count() == 3
    page.click("#back")
    assert page.locator("#format").inner_text() == ""  # it was of the dialogue before
    page.fill("#text", "")
    assert page.locator("#go").is_disabled()


def test_presets_have_names_and_errors_are_in_the_words_of_the_page(small_page):
    page = small_page
    names = page.locator("#preset option").all_inner_texts()
    assert "Customer service" in names and not any("-" in name for name in names)
    page.fill("#text", "Anna: late\nTom: sorry")
    for box in page.locator("#roles input").all():
        box.check()
    page.click("#read")
    page.wait_for_selector("#chat li")
    for box in page.locator("#roles input").all():
        box.check()
    page.click("#go")
    page.wait_for_selector("#problem:not([hidden])")
    said = page.locator("#problem").inner_text()
    assert said.startswith("Dialogue: no speaker plays") and "choose the role of Anna above the dialogue" in said
    assert not any(word in said for word in ('speakers"', "/v1/", "openapi", "--"))


def test_a_batch_begins_on_start_and_has_the_name_of_its_file(small_page, tmp_path):
    page = small_page
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(to_json(one) + "\n" for one in read_dialogues("sample:en-test")[:1]))
    page.click("#tab-many")
    assert page.locator("#manystart").is_disabled()
    page.set_input_files("#manyfile", file)
    assert page.locator("#manychosen").inner_text().startswith("chats.jsonl, ")
    assert page.locator("#batches .batch").count() == 0 and page.locator("#batch").is_hidden()
    page.click("#manystart")
    page.wait_for_selector("#batch:not([hidden])")
    assert page.locator("#batchtitle").inner_text() == "chats.jsonl"
    assert page.locator("#batches .batch b").inner_text() == "chats.jsonl"
    page.wait_for_selector("#table tbody tr")
    with page.expect_download() as told:
        page.click("#jsonl")
    assert told.value.suggested_filename == "chats-summaries.jsonl"
    page.evaluate("localStorage.removeItem('rolesum.batches')")
    page.reload()
    page.wait_for_selector("#roles input")
    page.click("#tab-many")
    page.wait_for_selector("#batches .batch")
    assert page.locator("#batches .batch b").inner_text().startswith("Batch of ")


def test_with_keys_the_page_asks_for_one_and_says_that_it_is_wrong(browser, tmp_path):  # noqa: F811
    key, line = new_key("anna")
    (tmp_path / "keys").write_text(line)
    with serving("--model", model_dir("llama"), "--dtype", "float32", "--keys", tmp_path / "keys") as service:
        page = browser.new_page(locale="en-GB")
        page.goto(service.url)
        page.wait_for_selector("#key[open]")
        assert page.locator("#keywrong").is_hidden()
        page.fill("#keytext", "rs-wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#keywrong:not([hidden])")
        page.fill("#keytext", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("#roles input")
        page.close()
        page = browser.new_page(locale="en-GB")
        page.goto(service.url)
        page.wait_for_selector("#key[open]")
        page.keyboard.press("Escape")
        page.wait_for_selector("#problem:not([hidden])")
        assert "API key" in page.locator("#problem").inner_text()
        page.close()
