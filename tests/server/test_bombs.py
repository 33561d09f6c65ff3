"""Small uploads that would take gigabytes or minutes to read, each made for one reader, against the real service."""

import io
import json
import struct
import threading
import time
import zipfile

import httpx
import psutil
import pytest

from helpers.served import TEXT, serving
from helpers.tiny import model_dir
from helpers.waiting import wait_until

MODEL = ("--model", model_dir("llama"), "--dtype", "float32")
JSON = {"Content-Type": "application/json"}
SIZE = 4 * 2**20 - 4096  # of a body with the head of a form


@pytest.fixture(scope="module")
def service():
    with serving(*MODEL) as running:
        yield running


@pytest.fixture(scope="module")
def hasty():
    """Three seconds for each request."""
    with serving(*MODEL, "--timeout", 3) as running:
        yield running


class Watch:
    """What the service takes inside the block: its memory with that of its children, and for an answer of /health.

    `slowest` is in seconds of the service's own processor time, which another load of the machine does not lengthen.
    """

    def __init__(self, service):
        self.service, self.slowest, self.peak = service, 0.0, 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self.before = self.memory()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def children(self):
        return psutil.Process(self.service.process.pid).children(recursive=True)

    def memory(self):
        total = 0
        for process in (psutil.Process(self.service.process.pid), *self.children()):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def seconds(self):
        times = psutil.Process(self.service.process.pid).cpu_times()
        return times.user + times.system

    def _look(self):
        while not self._is_over.wait(0.05):
            begun = self.seconds()
            assert httpx.get(f"{self.service.url}/health", trust_env=False, timeout=60).status_code == 200
            self.slowest = max(self.slowest, self.seconds() - begun)
            self.peak = max(self.peak, self.memory())


def slack(users=b"[]", messages=b"[]", days=1, method=zipfile.ZIP_DEFLATED):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", method) as archive:
        archive.writestr("users.json", users)
        for day in range(days):
            archive.writestr(f"c{day // 28}/2026-01-{day % 28 + 1:02d}.json", messages)
    return raw.getvalue()


def slack_that_lies():
    """A day that unpacks to 30 MB, and says that it has 10 bytes."""
    size = 30_000_000
    return slack(messages=bytes(size)).replace(struct.pack("<I", size), struct.pack("<I", 10))


def filled(unit, head="", tail="", size=SIZE):
    return f"{head}{unit * ((size - len(head) - len(tail)) // len(unit))}{tail}".encode()


BOMBS = {
    "slack-numbers.zip": lambda: slack(messages=b"[" + b"1," * 15_000_000 + b"1]"),
    "slack-members.zip": lambda: slack(users=b"[" + b"{}," * 10_000_000 + b"{}]"),
    "slack-strings.zip": lambda: slack(messages=b"[" + b'"",' * 10_000_000 + b'""]'),
    "slack-days.zip": lambda: slack(days=21_000),
    "slack-zeros.zip": lambda: slack(messages=bytes(150_000_000)),
    "slack-lies.zip": slack_that_lies,
    "slack-bzip2.zip": lambda: slack(messages=bytes(100_000_000), method=zipfile.ZIP_BZIP2),
    "slack-nested.zip": lambda: slack(messages=b"[" * 100_000),
    "whisper.json": lambda: filled("{},", '{"segments": [', "{}]}"),
    "whisper-words.json": lambda: filled('{"word":"a"},', '{"segments": [{"text": "a", "words": [', "{}]}]}"),
    "transcribe.json": lambda: filled("1,", '{"results": {"items": [', "1]}}"),
    "transcribe-empty.json": lambda: filled("[],", '{"Transcript": [', "[]]}"),
    "turns.jsonl": lambda: filled("1,", '{"id": 1, "turns": [', "1]}"),
    "keys.jsonl": lambda: b"{" + b",".join(b'"k%d":[]' % number for number in range(300_000)) + b"}",
    "same-key.jsonl": lambda: filled('"id":1,', "{", '"id":1}'),
    "lines.jsonl": lambda: filled("1\n"),
    "array.json": lambda: filled("{},", "[", "{}]"),
    "csds.json": lambda: filled("0,", '{"DialogueID": 1, "Dialogue": [', "0]}"),
    "samsum.json": lambda: filled("A: b\\n", '{"id": 1, "dialogue": "', '"}', size=2**20),
    "tweets.json": lambda: filled('"a",', '{"id": 1, "turns": [', '"a"]}'),
    "meeting.json": lambda: filled("0,", '{"meeting_transcripts": [', "0]}"),
    "nested.json": lambda: b'{"id": 1, "meta": ' + b"[" * 100_000,
    "digits.json": lambda: filled("9", '{"id": ', "}"),
    "columns.csv": lambda: filled(",x", "speaker,text"),
    "rows.csv": lambda: filled("a,b\n", "speaker,text\n"),
    "rows.tsv": lambda: filled("a\tb\n", "speaker\ttext\n"),
    "quotes.csv": lambda: filled('"', "speaker,text\n"),
    "line.txt": lambda: filled("a", "A: "),
    "lines.txt": lambda: filled("A: b\n"),
    "colons.txt": lambda: filled("A:"),
    "cues.vtt": lambda: filled("0:0.0-->0:0.0\n", "WEBVTT\n\n", size=2**20),
    "tags.vtt": lambda: filled("<v ", "WEBVTT\n\n00:00.000 --> 00:01.000\n"),
    "cues.srt": lambda: filled("A: x\n", "1\n00:00:00,000 --> 00:00:01,000\n"),
    "whatsapp.txt": lambda: filled(" <", "31.12.23, 22:02 - Anna: "),
    "zoom.txt": lambda: filled("[A] ", "[A] 10:00:00\n"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_does_not_take_large_memory_or_long_time(service, name):
    raw = BOMBS[name]()
    assert len(raw) < 4 * 2**20
    begun = time.monotonic()
    with Watch(service) as watch:
        answer = service.client.post("/v1/summaries", files={"file": (name, raw)})
    problem = answer.json()
    assert answer.status_code in (413, 422) and problem["where"] and problem["fix"] and len(answer.content) < 50_000
    assert time.monotonic() - begun < 60
    assert watch.peak - watch.before < 1.2 * 2**30 and watch.slowest < 3


BODIES = {
    "summaries-turns": ("/v1/summaries", lambda: filled("1,", '{"dialogue": {"turns": [', "1]}}")),
    "summaries-roles": ("/v1/summaries", lambda: filled("{},", '{"text": "a: b", "roles": [', "{}]}")),
    "dialogues-text": ("/v1/dialogues", lambda: json.dumps({"text": "[" + "1," * 1_900_000 + "1]"}).encode()),
    "chat-parts": (
        "/v1/chat/completions",
        lambda: filled("{},", '{"model": "m", "messages": [{"role": "user", "content": [', "{}]}]}"),
    ),
    "chat-metadata": ("/v1/chat/completions", lambda: filled("[],", '{"model": "m", "metadata": [', "1]}")),
    "batches": ("/v1/batches", lambda: b'{"dialogues": [' + b"{}," * 6_000_000 + b"{}]}"),
    "batches-strings": ("/v1/batches", lambda: b'{"dialogues": [' + b'"",' * 5_000_000 + b'""]}'),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_millions_of_values_costs_little(service, name):
    path, make = BODIES[name]
    with Watch(service) as watch:
        answer = service.client.post(path, content=make(), headers=JSON)
    assert answer.status_code == 413 and "JSON values" in answer.json()["detail"] and answer.json()["fix"]
    assert watch.peak - watch.before < 1.2 * 2**30 and watch.slowest < 3


def test_a_field_of_a_form_is_parsed_apart_too(service):
    fields = {"dialogues": "[" + "{}," * 1_300_000 + "{}]"}
    with Watch(service) as watch:
        answer = service.client.post("/v1/batches", data=fields, files={"x": b""})
    assert answer.status_code in (413, 422) and watch.slowest < 3


def test_a_reading_that_is_over_its_time_ends(hasty):
    raw = slack(messages=b'[{"ts": "1", "text": "' + b"<@U" * 42_000_000 + b'"}]')
    watch = Watch(hasty)
    before = watch.memory()
    with watch:
        answer = hasty.client.post("/v1/summaries", files={"file": ("slack.zip", raw)})
    problem = answer.json()
    assert answer.status_code == 413 and "took more than 3 s" in problem["detail"]
    assert problem["where"] == "slack.zip" and "rolesum summarize" in problem["fix"]
    assert watch.slowest < 2
    wait_until(lambda: len(watch.children()) == 1)  # which forks the others
    wait_until(lambda: watch.memory() - before <= 200 * 2**20)
    assert hasty.client.post("/v1/dialogues", json={"text": TEXT}).status_code == 200


def test_a_small_chat_is_read_without_a_delay(service):
    text = "\n".join(f"Customer: message {number} of a chat" for number in range(600))
    service.client.post("/v1/dialogues", json={"text": text})
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        assert service.client.post("/v1/dialogues", json={"text": text}).status_code == 200
        seconds.append(time.monotonic() - begun)
    assert min(seconds) < 1
