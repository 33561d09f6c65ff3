"""The scripts of examples/ run with a tiny adapter in the place of the bundled ones; the notebook with the real one."""

import ast
import json
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
from starlette.testclient import TestClient

import rolesum
from helpers.children import run_script
from helpers.tiny import short_dialogues
from helpers.tiny_adapter import ship_tiny_adapter, tiny_adapter

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CHATS = ["Customer: My parcel is late.\nAgent: I will check.", "Customer: Thank you."]

# What makes the notebook quicker and leaves out none of its calls: beginnings of dialogues, short summaries, one pass.
LESS = {
    "max_new_tokens=64": "max_new_tokens=8",
    "limit=10)": "limit=10)\ndialogues = [one.with_turns(one.turns[:5]) for one in dialogues]",
    '"training.epochs": 2': '"training.epochs": 1',
    "limit=4)": "limit=2)",
}

# Runs the code cells in one namespace, as Jupyter does, and shows the value of a cell's last expression.
RUN_CELLS = """
import ast, json, sys, types
display = types.ModuleType("IPython.display")
display.IFrame = lambda path, **_: open(path, encoding="utf-8").read().count("<svg")
sys.modules |= {"IPython": types.ModuleType("IPython"), "IPython.display": display}
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last:
            print(number, eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names))
"""


def test_a_column_of_chats_gets_a_column_for_each_role(monkeypatch, tmp_path):
    ship_tiny_adapter(monkeypatch, tmp_path / "adapters")
    source, target = tmp_path / "chats.csv", tmp_path / "out.csv"
    pd.DataFrame({"id": [7, 8], "chat": CHATS}).to_csv(source, index=False)
    monkeypatch.setattr(sys, "argv", ["pandas_column.py", str(source), str(target)])
    runpy.run_path(str(EXAMPLES / "pandas_column.py"), run_name="__main__")
    found = pd.read_csv(target, keep_default_na=False)
    assert list(found) == ["id", "chat", "summary_overall", "summary_user", "summary_agent"]
    assert list(found["id"]) == [7, 8] and found["summary_user"].all() and not found["summary_agent"][1]


def test_an_application_answers_with_its_own_model(monkeypatch):
    monkeypatch.setenv("ADAPTER", str(tiny_adapter()))
    app = runpy.run_path(str(EXAMPLES / "fastapi_app.py"))["app"]
    with TestClient(app) as client:
        found = client.post("/summaries", json={"text": CHATS[0], "roles": ["customer", "agent"]})
        assert found.status_code == 200 and list(found.json()) == ["user", "agent"]
        whole = client.post("/summaries", json={"text": CHATS[0], "roles": ["overall"]}).json()
        assert client.post("/stream", json={"text": CHATS[0]}).text == whole["overall"]
        wrong = client.post("/summaries", json={"text": "My parcel is late."})
        assert wrong.status_code == 422 and "no speaker" in wrong.json()["error"]


def test_own_chats_become_an_adapter_with_its_gain(monkeypatch, tmp_path, capsys):
    ship_tiny_adapter(monkeypatch, tmp_path / "adapters")
    labels = {"user": "Customer", "agent": "Agent"}
    tickets = [
        {
            "chat": "\n".join(
                f"{labels[one.roles[turn.speaker]]}: {' '.join(turn.text.split())}" for turn in one.turns
            ),
            **{role: one.summaries[role][0] for role in labels},
        }
        for one in rolesum.load_dialogues(short_dialogues("en-train", 12, 2))
    ]
    (tmp_path / "tickets.json").write_text(json.dumps(tickets), encoding="utf-8")
    example = runpy.run_path(str(EXAMPLES / "train_own_data.py"))
    example["main"](str(tmp_path / "tickets.json"), str(tmp_path / "run"))
    before, after = capsys.readouterr().out.splitlines()[-2:]
    assert set(ast.literal_eval(before.removeprefix("before "))) == {"user", "agent"}
    assert set(ast.literal_eval(after.removeprefix("after "))) == {"user", "agent"}


@pytest.mark.embedded
@pytest.mark.slow
def test_the_notebook_runs_from_the_first_cell_to_the_last(tmp_path):
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = notebook["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # outputs would grow old
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for more, less in LESS.items():
        assert any(more in "".join(cell["source"]) for cell in code), more
        for cell in code:
            cell["source"] = "".join(cell["source"]).replace(more, less)
    (tmp_path / "quickstart.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    (tmp_path / "run_cells.py").write_text(RUN_CELLS, encoding="utf-8")
    done = run_script(tmp_path / "run_cells.py", tmp_path / "quickstart.ipynb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = {number: value for number, _, value in (line.partition(" ") for line in done.stdout.splitlines())}
    scores = next(value for value in shown.values() if value.startswith("{'rolesum-smollm2-135m':"))
    assert set(ast.literal_eval(scores)) == {"rolesum-smollm2-135m", "trained"}
    frame = next(str(n) for n, cell in enumerate(cells) if "".join(cell["source"]).lstrip().endswith("height=700)"))
    assert int(shown[frame]) > 0
