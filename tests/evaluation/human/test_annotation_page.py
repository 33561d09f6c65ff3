"""The real server on a free port, driven over HTTP and by a real browser."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from helpers.browser import browser  # noqa: F401
from rolesum.errors import ResourceError
from rolesum.evaluation.evaluated_run import EvaluatedRun
from rolesum.evaluation.human.server import AnnotationServer
from rolesum.evaluation.human.session import AnnotationSession
from rolesum.evaluation.human.store import AnnotationStore
from rolesum.evaluation.human.study import StudySettings, make_study
from rolesum.evaluation.predictions import Prediction
from rolesum.formats import ReadOptions, read_dialogues

EVIL = "</script><img src=x onerror=\"document.title='broken'\"> &amp; 用户"


def runs_of(dialogues, *names):
    return [
        EvaluatedRun(
            name,
            Path(name),
            tuple(
                Prediction(one.id, role, f"{place} {role} {EVIL}", ("gold",))
                for one in dialogues
                for role in ("user", "agent")
            ),
            {},
        )
        for place, name in enumerate(names)
    ]


@contextmanager
def serving(store, host="127.0.0.1", **settings):
    dialogues = read_dialogues("sample:zh-test", ReadOptions(limit=2))
    study = make_study(runs_of(dialogues, "secret-a", "secret-b"), StudySettings(**settings), dialogues)
    server = AnnotationServer(AnnotationSession(study, store), host, 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def store(tmp_path):
    opened = AnnotationStore(tmp_path / "annotations.sqlite")
    yield opened
    opened.close()


def test_an_annotator_judges_over_http_and_no_answer_names_a_system(store):
    with serving(store) as server, httpx.Client(base_url=server.url) as client:
        page = client.get("/")
        told = [page.text]

        def ask(path, **body):
            answer = client.post(f"/api/{path}", json=body)
            told.append(answer.text)
            return answer

        assert ask("start", name="Anna").json()["done"] == [False] * 4
        for place in range(4):
            for output in ask("task", name="Anna", place=place).json()["outputs"]:
                for criterion in ("accuracy", "coherence", "grammatical correctness"):
                    fields = {"label": output["label"], "criterion": criterion, "value": 4}
                    answer = ask("rate", name="Anna", place=place, **fields)
        assert answer.json()["done"]
        assert ask("start", name="Anna").json()["done"] == [True] * 4
        assert ask("rate", name="Anna", place=0, label="A", criterion="accuracy", value=9).status_code == 400
        assert ask("rate", name="Anna", place=0, label="A", criterion="accuracy", value="4").status_code == 422
        assert ask("start", name="").json()["error"].startswith("a name has")
        for body in ('{"name": NaN}', '{"name": "\\ud800"}', '{"name": "Anna", "place": 1e400}', "[", ""):
            answer = client.post("/api/task", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, set(answer.json())) == (422, {"error", "fix"}), body
        assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404
    assert len(store.judgments()) == 4 * 2 * 3
    assert "secret" not in "".join(told)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text  # no asset of another place


REQUESTS = [
    ({}, 200),
    ({"Host": "localhost:9000", "Origin": "http://localhost:9000"}, 200),  # a forwarded port
    ({"Host": "evil.example"}, 403),
    ({"Host": "[::1"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
]


def test_only_the_page_itself_may_answer(store):
    kind = {"Content-Type": "application/json"}
    with serving(store) as server, httpx.Client(base_url=server.url) as client:
        for headers, status in REQUESTS:
            answer = client.post("/api/start", content=json.dumps({"name": "Anna"}), headers={**kind, **headers})
            assert (answer.status_code, "error" in answer.json()) == (status, status != 200), headers


def test_too_long_a_body_is_refused_unread(store):
    with serving(store) as server:
        port = int(server.url.rsplit(":", 1)[1].strip("/"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/api/start", "x" * 70_000, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 413
        connection.close()
        chunked = httpx.post(
            f"{server.url}api/start", content=iter([b"{}"]), headers={"Content-Type": "application/json"}
        )
        assert chunked.status_code == 413


def test_a_host_that_others_reach_needs_the_token(store):
    with serving(store, host="0.0.0.0") as server:
        local = f"http://127.0.0.1:{httpx.URL(server.url).port}/"
        assert server.token and server.url.endswith(f"?token={server.token}")
        assert httpx.get(local).status_code == 403
        assert httpx.get(local, params={"token": "wrong"}).status_code == 403
        assert httpx.get(local, params={"token": server.token}).status_code == 200
        assert httpx.post(f"{local}api/start", json={"name": "Anna"}).status_code == 403
        with_token = {"X-Token": server.token}
        assert httpx.post(f"{local}api/start", json={"name": "Anna"}, headers=with_token).status_code == 200


def test_a_port_that_is_taken_is_an_error_that_says_so(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ResourceError, match="cannot listen"):
            AnnotationServer(AnnotationSession(None, store), "127.0.0.1", taken.getsockname()[1])


def test_annotators_at_once_lose_no_answer(store):
    with serving(store) as server:

        def annotate(name):
            with httpx.Client(base_url=server.url) as client:
                client.post("/api/start", json={"name": name}).raise_for_status()
                for place in range(4):
                    for label in "AB":
                        fields = {"place": place, "label": label, "criterion": "accuracy", "value": 2}
                        client.post("/api/rate", json={"name": name, **fields}).raise_for_status()

        threads = [threading.Thread(target=annotate, args=(f"annotator {one}",)) for one in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(store.judgments()) == 4 * 4 * 2


SERVE = """
import sys
from pathlib import Path
from rolesum.evaluation.human.annotate import serve_annotation
a, b, store = map(Path, sys.argv[1:])
serve_annotation([a, b], {}, store=store, data="sample:zh-test", port=0)
"""


@pytest.fixture
def started(tmp_path):
    """A function that starts the command's work in a process of its own: the process, and its address."""
    dialogues = read_dialogues("sample:zh-test", ReadOptions(limit=2))
    for run in runs_of(dialogues, "a", "b"):
        home = tmp_path / run.name
        home.mkdir()
        rows = [
            {"id": one.id, "role": one.role, "prediction": one.prediction, "references": ["gold"]}
            for one in run.predictions
        ]
        (home / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("a", "b", "kept.sqlite")]
    processes = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", SERVE, *paths], stderr=subprocess.PIPE, text=True)
        processes.append(process)
        for line in process.stderr:
            if "http://" in line:
                return process, line.split()[-1]
        raise AssertionError("it did not start")

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_kill_loses_no_answer_and_ctrl_c_ends_well(started, tmp_path):
    process, address = started()
    answer = {"name": "Anna", "place": 1, "label": "B", "criterion": "accuracy", "value": 5}
    with httpx.Client(base_url=address) as client:
        client.post("/api/start", json={"name": "Anna"})
        assert client.post("/api/rate", json=answer).json()["answers"]["B"] == {"accuracy": 5}
        process.kill()
    process.wait()
    process, address = started()
    told = httpx.post(f"{address}api/task", json={"name": "Anna", "place": 1}).json()
    assert told["answers"]["B"] == {"accuracy": 5}
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert "stopped: 1 judgment in" in process.stderr.read()
    assert sqlite3.connect(tmp_path / "kept.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)


def begin(chromium, url, name="Anna", **kind):
    page = chromium.new_page(**kind)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.goto(url)
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector(".output")
    return page, faults


def test_ratings_by_keyboard_alone_in_a_browser(browser, store):  # noqa: F811
    with serving(store) as server:
        page, faults = begin(browser, server.url, viewport={"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert EVIL in page.inner_text("#outputs")
        assert page.locator("img").count() == 0 and page.title() == "Judge summaries"
        for place in range(4):
            page.locator("#where", has_text=f"{place + 1} of 4").wait_for()
            page.keyboard.type("345123")
            page.locator("#say", has_text="Saved").wait_for()
            if place == 0:
                page.keyboard.press("u")
                page.locator("#say", has_text="Undone").wait_for()
                page.keyboard.type("2")
                page.locator("#say", has_text="Saved").wait_for()
            page.keyboard.press("Enter")
        page.get_by_role("heading", name="All done").wait_for()
        assert faults == []
        page.close()
    by_task = {}
    for one in store.judgments():
        by_task.setdefault((one.dialogue, one.role), {})[one.label, one.criterion] = one.value
    assert len(by_task) == 4
    assert sorted(tuple(values.values()) for values in by_task.values()) == [
        (3, 4, 5, 1, 2, 2),
        *[(3, 4, 5, 1, 2, 3)] * 3,
    ]


def test_preferences_by_keyboard_and_going_on_after_a_reload_in_a_browser(browser, store):  # noqa: F811
    with serving(store, mode="prefer") as server:
        page, faults = begin(browser, server.url, color_scheme="dark")
        for place, key in enumerate("a=b"):
            page.locator("#where", has_text=f"{place + 1} of 4").wait_for()
            page.keyboard.press(key)
            page.locator("#say", has_text="Saved").wait_for()
            page.keyboard.press("Enter")
        page.locator("#where", has_text="4 of 4").wait_for()
        page.reload()
        page.keyboard.press("Enter")  # the name is still there
        page.locator("#where", has_text="4 of 4").wait_for()
        page.get_by_role("button", name="B is better").click()
        page.get_by_role("button", name="Finish").click()
        page.get_by_role("heading", name="All done").wait_for()
        assert faults == []
        page.close()
    assert [one.value for one in store.judgments()].count(0) == 1
    assert len(store.judgments()) == 4


def test_an_answer_that_was_not_saved_is_taken_off_the_page(browser, store):  # noqa: F811
    with serving(store) as server:
        page, _ = begin(browser, server.url)
        page.keyboard.press("5")
        page.locator("#say", has_text="5 to rate").wait_for()
    page.keyboard.press("4")
    page.locator("#say", has_text="Not saved").wait_for()
    assert page.locator("[aria-pressed=true]").count() == 0
    page.close()
