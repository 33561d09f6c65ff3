"""What settings do to commands: flag, variable, file, default; and what takes a setting's place."""

import json
from types import SimpleNamespace

import pytest
import typer

from helpers.command import rolesum
from helpers.tiny import model_dir
from rolesum.cli.main import app

CHAT = "Customer: My parcel 4417 is late.\nAgent: I am sorry, it arrives on Monday.\nCustomer: Fine."


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory with settings; no variables of the machine's."""
    for name in ("MODEL", "ADAPTER", "ROLES", "THREADS", "DEVICE", "DTYPE", "LANGUAGE"):
        monkeypatch.delenv(f"ROLESUM_{name}", raising=False)
    settings = f'model = "{model_dir("llama")}"\nroles = ["agent"]\ndtype = "float32"\n'
    (tmp_path / ".rolesum.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(*arguments):
    """The values of a command's options, without running it."""
    command = typer.main.get_command(app).commands[arguments[0]]
    context = command.make_context(arguments[0], list(arguments[1:]), obj=SimpleNamespace(reason=""))
    return context.params


def test_summarize_takes_the_model_and_the_roles_of_the_file(project):
    done = rolesum("summarize", "--max-new-tokens", 3, "--json", stdin=CHAT, cwd=project)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["summaries"]) == ["agent"]


def test_a_flag_comes_before_a_variable_and_that_before_the_file(project, monkeypatch):
    assert parsed("summarize")["roles"] == "agent"
    monkeypatch.setenv("ROLESUM_ROLES", "overall")
    assert parsed("summarize")["roles"] == "overall"
    assert parsed("summarize", "--roles", "user")["roles"] == "user"


def test_an_adapter_named_by_flag_is_not_put_on_the_model_of_the_file(project):
    found = parsed("summarize", "--adapter", "rolesum-smollm2-135m")
    assert found["model"] is None and found["adapter"].name == "smollm2-135m"


def test_sections_named_by_flag_are_not_narrowed_to_the_roles_of_the_file(project):
    assert parsed("summarize", "--sections", "meeting-recap")["roles"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("summarize", "--engine", "openai", "--url", "http://localhost:1/v1"),
        ("evaluate", "--engine", "lead-3"),
        ("evaluate", "--predictions", "out.jsonl"),
        ("evaluate", "--labels", "labels.jsonl"),
    ],
)
def test_what_runs_no_model_of_ours_takes_none_of_the_file(project, arguments):
    found = parsed(*arguments)
    assert found["model"] is None and found["adapter"] is None


def test_a_wrong_file_is_refused_but_help_is_shown(project):
    (project / ".rolesum.toml").write_text('modle = "x"')
    done = rolesum("summarize", stdin=CHAT, cwd=project)
    assert done.returncode == 2 and 'did you mean "model"?' in done.stderr
    assert rolesum("summarize", "--help", cwd=project).returncode == 0


def test_a_device_that_is_not_there_is_refused_as_by_flag(project):
    (project / ".rolesum.toml").write_text(f'model = "{model_dir("llama")}"\ndevice = "tpu"\n')
    assert rolesum("summarize", stdin=CHAT, cwd=project).returncode == 5


def test_doctor_says_where_each_value_comes_from(project, monkeypatch):
    monkeypatch.setenv("ROLESUM_ROLES", "user")
    monkeypatch.setenv("ROLESUM_MODLE", "x")
    done = rolesum("doctor", "--no-speed", "--json", "--dtype", "bfloat16", cwd=project)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    file = str(project / ".rolesum.toml")
    assert report["settings"]["model"] == {"value": str(model_dir("llama")), "source": file}
    assert report["settings"]["roles"] == {"value": "user", "source": "ROLESUM_ROLES"}
    assert report["settings"]["dtype"] == {"value": "bfloat16", "source": "--dtype"}
    assert report["settings"]["adapter"] == {"value": None, "source": "default"}
    assert report["dtype"]["chosen"] == "bfloat16" and report["dtype"]["on_disk"]
    assert ["ROLESUM_MODEL" in note for note in report["notes"]] == [True]


def test_doctor_measures_the_speed_and_prints_all_parts(project):
    done = rolesum("doctor", cwd=project)
    assert done.returncode == 0, done.stderr
    for part in ("device: ", "dtype: float32", "threads: ", "cache: ", "models on disk:", "extras:", "GFLOP/s"):
        assert part in done.stdout


def test_recipes_are_listed_and_shown():
    listed = json.loads(rolesum("recipes", "--json").stdout)
    purposes = {one["name"]: one["for"] for one in listed}
    assert purposes["mine"].startswith("Dialogues of your own") and all(purposes.values())
    assert rolesum("recipes", "show", "mine").stdout.startswith("name: mine\n")
    assert json.loads(rolesum("recipes", "show", "mine", "--json").stdout)["lora"]["rank"] == 16
    unknown = rolesum("recipes", "show", "mines")
    assert unknown.returncode == 2 and 'did you mean "mine"?' in unknown.stderr


def test_models_say_the_dtype_of_those_on_disk_and_why():
    for one in json.loads(rolesum("models", "--json").stdout):
        assert (one["dtype"] is not None) == one["on_disk"] == bool(one["dtype_reason"])
