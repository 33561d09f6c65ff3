"""What `rolesum summarize` and `batch` take beside the model: decoding, strategies, sections, formats, engines."""

import json

import pytest

from helpers.command import rolesum
from helpers.tiny import model_dir

CHAT = "Customer: My lamp broke, call 020 7946 0958.\nAgent: Sorry! We send a new one.\n"
FEW = ("--max-new-tokens", 4)


def summarize(*arguments, stdin=CHAT):
    return rolesum("summarize", "--model", model_dir("llama"), *FEW, *arguments, stdin=stdin)


def texts(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["summaries"]


def test_json_tells_the_figures_of_every_text():
    record = json.loads(summarize("--json").stdout)
    assert set(record["stats"]) == {"overall", "user", "agent"}
    for figures in record["stats"].values():
        assert figures["lowest_logprob"] <= figures["mean_logprob"] <= 0
        assert figures["tokens"] == 4 and figures["seconds"] >= 0


def test_sampling_follows_its_seed_and_beams_differ_from_greedy():
    hot = ("--temperature", 1.5, "--roles", "user", "--json")
    first, again, other = (texts(summarize(*hot, "--seed", seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("choice", ["mbr", "mbr:samsum", "checks", "likeliest"])
def test_one_of_several_samples_is_chosen(choice):
    found = texts(summarize("--samples", 3, "--temperature", 1, "--choose", choice, "--roles", "user", "--json"))
    assert set(found) == {"user"}


def test_sections_are_asked_for_in_the_place_of_roles():
    assert set(texts(summarize("--sections", "situation-action-resolution", "--json"))) == {
        "situation",
        "action",
        "resolution",
    }


def test_a_long_dialogue_is_refused_by_place_and_read_whole_by_map_reduce():
    long = "".join(f"Customer: My lamp {n} broke again.\nAgent: We send another one.\n" for n in range(160))
    refused = summarize("--roles", "user", stdin=long)
    assert refused.returncode == 3 and "--long-dialogues" in refused.stderr
    done = summarize("--roles", "user", "--long-dialogues", "map-reduce", "--json", stdin=long)
    seen = json.loads(done.stdout)["stats"]["user"]["coverage"]
    assert seen["turns"] == seen["read"] == 320 and seen["chunks"] > 1
    shown = summarize("--roles", "user", "--long-dialogues", "map-reduce", "--stream", stdin=long)
    assert "320 of 320 turns read" in shown.stdout
    assert [line for line in shown.stderr.splitlines() if line.startswith("part ")] == [
        f"part {n} of {seen['chunks']}" for n in range(1, seen["chunks"] + 1)
    ]


def test_a_lower_context_makes_parts_of_what_would_fit_and_a_higher_one_is_refused():
    chat = "".join(f"Customer: My lamp {n} broke again.\nAgent: We send another one.\n" for n in range(10))
    parts = ("--roles", "user", "--long-dialogues", "map-reduce", "--json")
    assert "coverage" not in json.loads(summarize(*parts, stdin=chat).stdout)["stats"]["user"]
    done = summarize(*parts, "--context", 200, stdin=chat)
    assert json.loads(done.stdout)["stats"]["user"]["coverage"]["chunks"] > 1
    refused = summarize("--context", 10_000_000)
    assert refused.returncode == 2 and "--context 10000000 is more than the" in refused.stderr


def test_a_table_is_read_by_its_columns(tmp_path):
    table = tmp_path / "calls.csv"
    table.write_text("call,who,said\n7,Customer,My lamp broke.\n7,Agent,Sorry!\n8,Customer,Hello?\n")
    done = rolesum(
        *("summarize", table, "--model", model_dir("llama"), *FEW, "--columns", "id=call,speaker=who,text=said"),
        *("--roles", "overall", "--json"),
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["7", "8"]


def test_the_file_that_is_read_is_not_written_over(tmp_path):
    chat = tmp_path / "chat.txt"
    chat.write_text("Customer: My lamp broke.\n", encoding="utf-8")
    done = rolesum("summarize", chat, "--model", model_dir("llama"), "--out", chat)
    assert done.returncode == 2 and "the output file is the input file" in done.stderr
    assert chat.read_text(encoding="utf-8") == "Customer: My lamp broke.\n"


def test_tokens_are_streamed_into_a_pipe_where_one_asks_for_it():
    streamed, plain = summarize("--stream"), summarize("--no-stream")
    assert streamed.stdout == plain.stdout and streamed.stdout.startswith("[overall]\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--samples", 3), 2, "temperature"),
        (("--choose", "best"), 2, "unknown choice"),
        (("--choose", "mbr"), 2, "nothing to choose among"),
        (("--beams", 2, "--temperature", 1), 2, "beams are not sampled"),
        (("--beams", 2, "--length-penalty", "nan"), 2, "--length-penalty: -10 to 10"),
        (("--length-penalty", 2), 2, "--beams 4"),
        (("--top-p", 0.5), 2, "--temperature 0.7"),
        (("--min-new-tokens", 9), 2, "min_new_tokens"),
        (("--speaker", "Customer=user", "--speaker", "Customer=agent"), 2, "gives Customer two roles"),
        (("--stream", "--out", "out.txt"), 2, "--stream cannot be combined"),
        (("--sections", "meeting"), 2, "meeting-recap"),
        (("--long-dialogues", "cut"), 2, "known: drop-middle, map-reduce, refine, refuse"),
        (("--engine", "vlm"), 2, 'did you mean "vllm"'),
        (("--engine", "llamacpp"), 2, "--gguf"),
        (("--engine", "openai"), 2, "--url"),
        (("--url", "http://localhost:1/v1"), 2, "--engine openai"),
        (("--vllm-option", "eager"), 2, "KEY=VALUE"),
        (("--watch",), 2, "name the file"),
        (("--columns", "id"), 2, "--columns"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_remedy(arguments, code, told):
    done = summarize(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr


def test_evaluate_takes_the_same_decoding_and_says_so(tmp_path):
    done = rolesum(
        *("evaluate", "--model", model_dir("llama"), "--data", "sample:en-test", "--limit", 2, "--roles", "user", *FEW),
        *("--samples", 2, "--temperature", 0.9, "--choose", "mbr", "--out", tmp_path / "out", "--json"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["decoding"] == {"temperature": 0.9, "seed": 1, "samples": 2, "choose": "mbr"}
