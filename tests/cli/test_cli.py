"""The command line as a user meets it, in processes of its own, of the commands that need no model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import rolesum

ROLESUM = Path(sys.executable).with_name("rolesum")
COMMANDS = [
    *("demo", "train", "summarize", "evaluate", "compare", "annotate", "score"),
    *("batch", "data check", "data show", "data convert", "models", "models pull"),
]
HEAVY = ("torch", "transformers", "peft")

ENGLISH = "Her lamp broke.\nHe is sorry.\n"
CHINESE = "用户说台灯坏了。\n客服道歉。\n"
BROKEN = '{"id": "1", "turns": [{"speaker": "Customer", "text": "hi"}]}\n{"id": "2", "turns": []}\n{"id": \n'

# What is called, the exit code, and what must be told.
MISTAKES = [
    ("sumarize", 2, "No such command"),
    ("data check sample:en-test --fromat rolesum", 2, "--format"),
    ("score --scorer samsum", 2, "--predictions"),
    ("score --scorer samsun --predictions a --references a", 2, 'did you mean "samsum"?'),
    ("score --scorer csds --predictions a --references a --multi-reference most", 2, "for --multi-reference"),
    ("evaluate --data sample:en-test --engine laed-3", 2, 'did you mean "lead-3"?'),
    ("evaluate --engine lead-3", 2, "no data to evaluate on"),
    ("evaluate --engine lead-3 --predictions a.jsonl --data sample:en-test", 2, "do not go together"),
    ("evaluate --data sample:en-test --predictions usr=a.txt", 2, 'unknown role "usr"'),
    ("evaluate --data sample:en-test --engine lead-3 --judge http://localhost:1/v1", 2, "add --judge-model"),
    ("evaluate --data sample:en-test --engine lead-1 --judge http://[::1 --judge-model x", 2, "not the URL"),
    ("evaluate --data sample:en-test --engine lead-1 --judge-labels a.csv", 2, "needs a judge"),
    ("evaluate --data sample:en-test --engine lead-1 --judge-cache a.sqlite", 2, "need a judge"),
    ("evaluate --data sample:en-test --engine lead-" + "9" * 5000, 2, "unknown baseline"),
    ("evaluate --data sample:en-test --predictions " + "x" * 300 + "=y", 5, "File name too long"),
    ("compare nowhere nowhere-else", 2, "no evaluated run in nowhere"),
    ("annotate nowhere --no-open", 2, "no evaluated run in nowhere"),
    ("data check sample:en-test --recipe sampel", 2, 'did you mean "sample"?'),
    ("train sample --set training.epohcs=2 --dry-run", 2, 'did you mean "epochs"?'),
    ("train none.yaml --dry-run", 2, "no recipe at none.yaml"),
    ("data check none.jsonl", 3, "error: none.jsonl: cannot read the file"),
    ("data check .", 3, "error: .: cannot read the file"),
    ("data check sample:en-tset", 3, 'did you mean "en-test"?'),
    ("score --scorer csds --predictions none.txt --references none.txt", 3, "error: none.txt: cannot read the file"),
]


@pytest.fixture
def call(tmp_path):
    """Runs rolesum in an empty directory."""

    def run(*arguments, stdin=""):
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [ROLESUM, *arguments],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def file(tmp_path):
    """Writes a text file and gives its name."""

    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


def in_one_process(calls, cwd):
    """What comes of each call: its exit code, output, errors, and the heavy modules that are loaded by then."""
    code = (
        "import contextlib, io, json, sys\n"
        "from rolesum.cli.main import run\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv, out, err, code = ['rolesum', *arguments], io.StringIO(), io.StringIO(), 0\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        try:\n"
        "            run()\n"
        "        except SystemExit as end:\n"
        "            code = end.code\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    print(json.dumps([code, out.getvalue(), err.getvalue(), heavy]))\n"
    )
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(calls)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    """What comes of asking for the help of every command."""
    calls = [[*command.split(), "--help"] for command in COMMANDS]
    return dict(zip(COMMANDS, in_one_process(calls, tmp_path_factory.mktemp("helps")), strict=True))


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """What comes of each of the mistaken calls."""
    mistakes = [call for call, _, _ in MISTAKES]
    calls = [call.split() for call in mistakes]
    return dict(zip(mistakes, in_one_process(calls, tmp_path_factory.mktemp("refusals")), strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_of_it(helps, command):
    code, text, _, _ = helps[command]
    assert code == 0
    assert f"Example: rolesum {command}" in " ".join(text.split())


@pytest.mark.parametrize(("mistake", "code", "told"), MISTAKES)
def test_a_mistake_is_told_on_standard_error_with_its_exit_code(refusals, mistake, code, told):
    found, out, err, _ = refusals[mistake]
    assert (found, out) == (code, "")
    assert told in err
    assert "Traceback" not in err


def test_the_help_names_every_command_and_what_to_do_first(call):
    done = call("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command.split()[0] in done.stdout
    assert "rolesum demo" in done.stdout


def test_the_version_is_the_packages(call):
    assert call("--version").stdout == f"rolesum {rolesum.__version__}\n"


def test_the_exit_code_of_a_mistake_is_the_processes(call):
    usage = call("data", "check", "sample:en-test", "--format", "rolsum")
    assert (usage.returncode, usage.stdout) == (2, "")
    assert usage.stderr.splitlines()[0] == 'error: unknown format "rolsum"'
    data = call("data", "check", "-")
    assert (data.returncode, data.stdout) == (3, "")
    assert data.stderr.splitlines()[0] == "error: standard input: the file is empty"


def test_data_check_counts_what_is_good(call):
    done = call("data", "check", "sample:zh-test")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "sample:zh-test: format rolesum, 8 good dialogues, 87 turns"
    assert "languages: zh 8" in done.stdout
    assert "summaries by role: overall 8, user 8, agent 8" in done.stdout


def test_data_check_tells_every_problem_on_standard_error_and_ends_with_exit_code_3(call, file):
    done = call("data", "check", file("chats.jsonl", BROKEN))
    assert done.returncode == 3
    assert "1 good dialogue, " in done.stdout
    assert "chats.jsonl:2, id 2: the dialogue has no turns" in done.stderr
    assert "chats.jsonl:3: broken JSON" in done.stderr
    assert done.stderr.splitlines()[-1] == "chats.jsonl: 2 problems"


def test_data_check_gives_the_same_as_json(call, file):
    done = call("data", "check", file("chats.jsonl", BROKEN), "--json")
    assert done.returncode == 3
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert (told["file"], told["format"], told["dialogues"]) == ("chats.jsonl", "rolesum", 1)
    assert told["speakers_by_role"] == {"user": 1}
    assert [problem["where"] for problem in told["problems"]] == ["chats.jsonl:2, id 2", "chats.jsonl:3"]


def test_data_check_reads_standard_input(call):
    done = call("data", "check", "-", stdin="用户：你好\n客服：您好\n")
    assert done.returncode == 0
    assert "standard input: format plain, 1 good dialogue, 2 turns" in done.stdout


def test_data_check_knows_the_custom_roles_of_a_recipe(call, file):
    chats = file("chats.jsonl", json.dumps({"id": "1", "turns": [{"speaker": "翻译", "text": "hello"}]}) + "\n")
    recipe = file(
        "own.yaml",
        f"name: own\ndata: {{train: {{path: {chats}}}}}\ncustom_roles: {{interpreter: {{aliases: [翻译]}}}}\n",
    )
    done = call("data", "check", chats, "--recipe", recipe)
    assert done.returncode == 0
    assert "speakers by role: interpreter 1" in done.stdout


def test_score_prints_the_recipes_name_the_libraries_and_the_figures(call, file):
    file("made.txt", "Her lamp broke.\nNothing.\n")
    file("gold.txt", ENGLISH)
    done = call("score", "--scorer", "samsum", "--predictions", "made.txt", "--references", "gold.txt")
    assert done.returncode == 0
    assert "scorer samsum v1 (equal to rouge-score 0.1.2 and sacrebleu 2; nltk" in " ".join(done.stdout.split())
    row = next(line for line in done.stdout.splitlines() if "summary" in line)
    assert " 2 " in row
    assert row.split().count("50") == 4  # two summaries are too few for digits behind the point


def test_score_gives_the_same_as_json(call, file):
    file("made.txt", CHINESE)
    file("gold.txt", CHINESE)
    done = call("score", "--scorer", "csds", "--predictions", "made.txt", "--references", "gold.txt", "--json")
    assert done.returncode == 0
    (found,) = json.loads(done.stdout).values()
    assert (found["scorer"], found["scorer_version"], found["pairs"]) == ("csds", 2, 2)
    assert found["means"] == {"rouge1": 100, "rouge2": 100, "rougeLsum": 100, "bleu": 100, "chrf": 100}
    assert "rouge1" not in found["intervals"]  # of two equal figures there is none
    assert (found["libraries"], found["equal_to"]) == ({}, ["rouge-score 0.1.2", "sacrebleu 2"])


def test_score_refuses_texts_in_a_language_that_the_scorer_misjudges_with_exit_code_3(call, file):
    file("gold.txt", CHINESE)
    done = call("score", "--scorer", "samsum", "--predictions", "gold.txt", "--references", "gold.txt", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "use --scorer csds" in done.stderr


def test_train_can_print_the_whole_recipe_without_training(call, tmp_path):
    done = call("train", "sample", "--set", "training.learning_rate=5e-4", "--dry-run")
    assert done.returncode == 0
    told = yaml.safe_load(done.stdout)
    assert (told["name"], told["training"]["learning_rate"], told["training"]["seed"]) == ("sample", 5e-4, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_needs_no_model_imports_no_deep_learning_library(file, tmp_path):
    file("gold.txt", CHINESE)
    calls = [
        ["--help"],
        ["train", "--help"],
        ["train", "sample", "--dry-run"],
        ["data", "check", "sample:en-test"],
        ["score", "--scorer", "csds", "--predictions", "gold.txt", "--references", "gold.txt"],
    ]
    found = [(code, heavy) for code, _, _, heavy in in_one_process(calls, tmp_path)]
    assert found == [(0, [])] * len(calls)
