"""The examples of docs/python.md run, in their order, with a tiny adapter in the place of the bundled ones."""

import re
from pathlib import Path

from helpers.tiny import short_dialogues
from helpers.tiny_adapter import ship_tiny_adapter

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_examples_of_the_python_page_run(monkeypatch, tmp_path, capsys):
    ship_tiny_adapter(monkeypatch, tmp_path / "adapters")
    monkeypatch.chdir(tmp_path)
    lines = short_dialogues("en-train", 12, 2).read_text(encoding="utf-8")
    Path("mine.jsonl").write_text(lines, encoding="utf-8")
    Path("chats.jsonl").write_text("".join(lines.splitlines(keepends=True)[:2]), encoding="utf-8")
    Path("chats.csv").write_text("id,speaker,text\nc-1,Customer,It is late.\nc-1,Agent,Sorry.\n", encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 7
    names = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    printed = capsys.readouterr().out
    assert printed.startswith("overall ") and "c-1 " in printed and 'begin each turn with "Speaker: "' in printed
    names["summarizer"].close()
