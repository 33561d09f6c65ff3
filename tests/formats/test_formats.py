import json

import pytest

from helpers.exports import EXPECTED
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats import (
    FORMATS,
    ReadOptions,
    Source,
    find_dialogue,
    open_source,
    parse_dialogues,
    read_dialogues,
    read_items,
    sniff_format,
)

TURNS = [{"speaker": "Anna", "text": "hi"}, {"speaker": "Tom", "text": "hello"}]
UTTERANCES = [{"speaker": "用户", "utterance": "你好"}, {"speaker": "客服", "utterance": "您好"}]
CSV = 'id,dialogue,summary\n1,"Anna: hi\nTom: hello",They greet.\n'

EXAMPLES = [
    ("rolesum", json.dumps({"id": "1", "turns": TURNS})),
    ("samsum", json.dumps([{"id": "1", "dialogue": "Anna: hi", "summary": "A greeting."}])),
    ("samsum", json.dumps({"id": "1", "dialogue": "Anna: hi"})),
    ("samsum", CSV),
    ("csds", json.dumps([{"id": "1", "dialogue": UTTERANCES}])),
    ("csds", json.dumps([{"DialogueID": 1, "Dialogue": [{"speaker": "Q", "utterance": "你 好"}]}])),
    ("tweetsumm", json.dumps({"id": "1", "turns": ["hi", "hello"], "refs": []})),
    ("plain", "Anna: hi\nTom: hello"),
    ("plain", "用户：你好\n客服：您好"),
    ("dialogsum", json.dumps({"fname": "1", "dialogue": "#Person1#: hi", "summary": "A greeting."})),
    ("qmsum", json.dumps({"meeting_transcripts": [{"speaker": "A", "content": "hi"}], "general_query_list": []})),
    ("vtt", "WEBVTT - Title: greeting\n\n00:01.000 --> 00:02.000\n<v Anna>hi</v>"),
    ("srt", "1\n00:00:01,000 --> 00:00:02,000\nAnna: hi"),
    ("sbv", "0:00:01.000,0:00:02.000\nAnna: hi"),
    ("zoom", "[Anna] 10:02:11\nhi: you"),
    ("whisper", json.dumps({"segments": [{"text": "hi", "speaker": "A"}]})),
    ("transcribe", json.dumps({"Transcript": [{"ParticipantRole": "AGENT", "Content": "hi"}]})),
    ("whatsapp", "[12/31/23, 10:02:11 PM] Anna: hi"),
    ("whatsapp", "31.12.23, 22:02 - Anna: hi"),
    ("csv", "id,speaker,text\n1,Anna,hi"),
    ("csv", "id\tdialogue\n1\tAnna: hi"),
]


def lines(*records):
    return Source("chats.jsonl", "\n".join(json.dumps(record) for record in records))


def chats(*ids):
    return [{"id": identity, "turns": TURNS} for identity in ids]


def ids(dialogues):
    return [dialogue.id for dialogue in dialogues]


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_each_format_is_recognized_by_its_content_and_then_read(name, text):
    source = Source("some-file", text)
    assert sniff_format(source).name == name
    assert all(isinstance(item, Dialogue) for item in parse_dialogues(source))
    assert read_dialogues(source) == read_dialogues(source, ReadOptions(format=name))


def test_every_format_of_one_file_has_an_example():
    elsewhere = {"slack"}  # a directory; see test_slack.py
    elsewhere |= {form for form, _ in EXPECTED.values()} | {"json"}  # see test_exports.py
    assert {name for name, _ in EXAMPLES} == FORMATS.keys() - elsewhere


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        (json.dumps({"id": "1", "turns": TURNS, "dialogue": "Anna: hi"}), "rolesum, samsum"),
        (json.dumps({"id": "1", "turns": TURNS, "Dialogue": UTTERANCES}), "rolesum, csds"),
        (json.dumps({"id": "1", "turns": ["hi"], "dialogue": "Anna: hi"}), "samsum, tweetsumm"),
    ],
)
def test_an_ambiguous_file_is_refused_with_its_candidates_and_read_when_told(text, candidates):
    source = Source("some-file", text)
    with pytest.raises(DataError, match=f"could be any of: {candidates}") as caught:
        sniff_format(source)
    assert "--format" in str(caught.value)
    assert ids(read_dialogues(source, ReadOptions(format="samsum" if "samsum" in candidates else "csds"))) == ["1"]


@pytest.mark.parametrize(
    ("text", "line", "shown"),
    [
        ("Just a note.\nAnd one more.", 1, "'Just a note.'"),
        ("\n\nA note.\nAnna: hi\nTom: yo", 3, "'A note.'"),
        ("10:30\n10:31", 1, "'10:30'"),
        (f"a\x00 {'so ' * 50}", 1, f"'a\\x00 {'so ' * 19}'…"),
        ("22:01 Anna added Tom.\n22:02 Anna My parcel has not come.", 1, "'22:01 Anna added Tom.'"),
    ],
)
def test_a_file_of_no_known_format_is_refused_with_its_first_strange_line_and_a_remedy(text, line, shown):
    with pytest.raises(DataError) as caught:
        sniff_format(Source("notes.txt", text))
    (problem,) = caught.value.problems
    assert problem.where == f"notes.txt:{line}"
    assert problem.what == f"the file looks like no known format: this line names no speaker: {shown}"
    assert 'begin each turn with "Speaker: "' in problem.fix and all(name in problem.fix for name in FORMATS)


LABELED = {"id": "1", "dialogue": "Ann: hi", "summary": "Ben greets.", "error": 1}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LABELED),
        json.dumps([{**LABELED, "error": False}]),
        json.dumps({"id": 1, "turns": [{"speaker": "Ann", "text": "hi"}], "summary": "Ben greets.", "error": True}),
        "id,dialogue,summary,error\n1,Ann: hi,Ben greets.,1\n",
        "id;system;dialogue;summary;error\n1;bart;Ann: hi;Ben greets.;1\n",
    ],
)
def test_labels_of_summaries_are_refused_as_data_with_the_command_that_takes_them(text):
    with pytest.raises(DataError, match=r"(?s)no references.*evaluate --labels"):
        sniff_format(Source("labels", text))


def test_labels_are_read_as_data_where_their_format_is_named():
    (read,) = parse_dialogues(Source("labels.jsonl", json.dumps(LABELED)), ReadOptions(format="samsum"))
    assert read.summaries == {"overall": ("Ben greets.",)}


def test_an_error_that_is_no_label_leaves_a_record_what_it_is():
    assert sniff_format(Source("chats", json.dumps({**LABELED, "error": None}))).name == "samsum"


def test_a_table_with_columns_of_its_own_tells_them_and_how_to_map_them():
    with pytest.raises(DataError, match="the file has: ticket, who, what") as caught:
        read_dialogues(Source("calls.csv", "ticket,who,what\n1,Customer,Hello?\n"))
    assert "--columns id=" in str(caught.value)


def test_an_id_to_skip_that_is_not_there_is_told_and_no_error(capsys):
    source = Source("chat.jsonl", '{"id": "1", "turns": [{"speaker": "A", "text": "Hello"}]}\n')
    assert ids(read_dialogues(source, ReadOptions(skip=["1x"]))) == ["1"]
    assert "no dialogue 1x, which was to be skipped" in capsys.readouterr().err
    assert ids(read_dialogues(source, ReadOptions(skip=["1x"], limit=1))) == ["1"]


def test_a_column_that_the_records_of_json_lack_is_a_usage_error():
    with pytest.raises(UsageError, match="the table has no column x"):
        read_dialogues(Source("chat.jsonl", '{"id": "1", "turns": []}\n'), ReadOptions(columns={"id": "x"}))


def test_an_unknown_format_is_a_usage_error_with_the_nearest_one():
    with pytest.raises(UsageError, match='did you mean "samsum"'):
        parse_dialogues(Source("some-file", CSV), ReadOptions(format="samsun"))


def test_a_file_whose_first_record_is_broken_is_known_by_its_next_one():
    source = Source("chats.jsonl", '{"id": "1", "turns": [\n' + json.dumps(chats("2")[0]))
    with pytest.raises(DataError) as caught:
        read_dialogues(source)
    assert [problem.where for problem in caught.value.problems] == ["chats.jsonl:1"]


def test_a_file_of_broken_json_only_is_told_as_broken_json():
    with pytest.raises(DataError, match=r"chats\.json:2: broken JSON"):
        sniff_format(Source("chats.json", '[\n{"id" "1"}]'))


@pytest.mark.parametrize("text", ["[客服]小王：您好\n[用户]小李：你好", "[Agent] Tom: hello\n[Customer] Anna: hi"])
def test_a_chat_whose_lines_begin_with_a_bracket_is_not_taken_for_json(text):
    assert sniff_format(Source("chat.txt", text)).name == "plain"


def test_all_problems_of_a_file_are_raised_at_once():
    source = lines({"id": "1"}, *chats("2"), {"id": "3", "turns": []})
    with pytest.raises(DataError) as caught:
        read_dialogues(source, ReadOptions(format="rolesum"))
    assert [problem.where for problem in caught.value.problems] == ["chats.jsonl:1, id 1", "chats.jsonl:3, id 3"]


def test_limit_takes_the_first_dialogues():
    assert ids(read_dialogues(lines(*chats("a", "b", "c")), ReadOptions(limit=2))) == ["a", "b"]


def test_skipped_dialogues_do_not_count_for_the_limit():
    assert ids(read_dialogues(lines(*chats("a", "b", "c")), ReadOptions(skip=["a"], limit=2))) == ["b", "c"]


def test_a_limit_above_the_number_of_dialogues_takes_them_all():
    assert ids(read_dialogues(lines(*chats("a", "b")), ReadOptions(limit=9))) == ["a", "b"]


@pytest.mark.parametrize("identity", ["7", 7, 0])
def test_a_broken_record_can_be_skipped_by_its_id(identity):
    broken = {"id": identity, "turns": [{"speaker": "Anna", "text": " "}]}
    source = lines(*chats("1"), broken)
    with pytest.raises(DataError, match="the dialogue has no turns"):
        read_dialogues(source)
    assert ids(read_dialogues(source, ReadOptions(skip=[str(identity)]))) == ["1"]


def test_skipping_an_id_does_not_excuse_one_that_ends_alike():
    source = lines(*chats("1"), {"id": "17", "turns": []})
    with pytest.raises(DataError):
        read_dialogues(source, ReadOptions(skip=["7"]))


def test_a_file_of_which_nothing_is_left_is_refused():
    with pytest.raises(DataError, match=r"chats\.jsonl: no dialogue in the file"):
        read_dialogues(lines(*chats("1")), ReadOptions(skip=["1"]))


def test_an_unknown_role_in_a_file_is_a_problem_of_its_record():
    source = lines({"id": "9", "turns": TURNS, "roles": {"Anna": "usr"}}, *chats("10"))
    first, second = read_items(source)
    assert isinstance(first, Problem)
    assert first.where == "chats.jsonl:1, id 9"
    assert 'unknown role "usr"' in first.what
    assert 'did you mean "user"?' in first.fix
    assert second.id == "10"


def test_an_unknown_role_of_a_summary_is_a_problem_too():
    (item,) = read_items(lines({"id": "9", "turns": TURNS, "summaries": {"abstract": "They greet."}}))
    assert isinstance(item, Problem)
    assert 'unknown role "abstract"' in item.what


def test_role_names_are_resolved_to_one_name_each():
    record = {"id": "1", "turns": TURNS, "roles": {"Anna": "客户", "Tom": "Assistant"}, "summaries": {"final": "Hi."}}
    (dialogue,) = read_dialogues(lines(record))
    assert dialogue.roles == {"Anna": "user", "Tom": "agent"}
    assert dialogue.summaries == {"overall": ("Hi.",)}


def test_two_summaries_under_two_names_of_one_role_are_not_dropped_in_silence():
    (item,) = read_items(lines({"id": "1", "turns": TURNS, "summaries": {"user": "Hi.", "customer": "Bye."}}))
    assert isinstance(item, Problem) or item.summaries == {"user": ("Hi.", "Bye.")}


def test_custom_roles_are_known_to_every_format():
    custom = {"interpreter": ["翻译"]}
    (plain,) = read_dialogues(Source("chat.txt", "用户：你好\n翻译：hello"), ReadOptions(custom_roles=custom))
    assert plain.roles == {"用户": "user", "翻译": "interpreter"}
    record = {"id": "1", "turns": TURNS, "roles": {"Tom": "翻译"}, "summaries": {"interpreter": "Hi."}}
    (own,) = read_dialogues(lines(record), ReadOptions(custom_roles=custom))
    assert (own.roles, tuple(own.summaries)) == ({"Tom": "interpreter"}, ("interpreter",))


def test_what_the_caller_says_of_a_speaker_comes_before_the_file():
    record = {"id": "1", "turns": TURNS, "roles": {"Anna": "user", "Tom": "user"}}
    (dialogue,) = read_dialogues(lines(record), ReadOptions(speakers={"Tom": "坐席"}))
    assert dialogue.roles == {"Anna": "user", "Tom": "agent"}


def test_a_speaker_whom_nobody_hears_is_refused_with_a_hint():
    with pytest.raises(UsageError, match="no turn is spoken by Tomm") as caught:
        read_dialogues(lines(*chats("1")), ReadOptions(speakers={"Tomm": "user"}))
    assert 'did you mean "Tom"' in str(caught.value)


def test_half_an_emoji_and_a_number_of_thousands_of_digits_are_problems_with_their_line():
    text = '{"id": "1", "turns": [{"speaker": "A", "text": "hi \\ud83d"}]}\n{"id": ' + "1" * 5000 + "}"
    found = [item for item in Source("f.jsonl", text).records() if isinstance(item, Problem)]
    assert [problem.where for problem in found] == ["f.jsonl:1", "f.jsonl:2"]
    assert "surrogate" in found[0].what and "broken JSON" in found[1].what


def test_a_dialogue_is_found_past_bad_records():
    source = Source("f.jsonl", '{"id": "1"}\nnot json\n{"id": "2", "turns": [{"speaker": "A", "text": "Hi"}]}')
    assert find_dialogue(source, "2", ReadOptions(format="rolesum")).id == "2"
    with pytest.raises(DataError, match="id 1"):
        find_dialogue(source, "1", ReadOptions(format="rolesum"))
    with pytest.raises(UsageError, match='no dialogue "3"'):
        find_dialogue(source, "3", ReadOptions(format="rolesum"))


def test_a_callers_unknown_role_is_a_usage_error():
    with pytest.raises(UsageError, match='unknown role "boss"'):
        read_dialogues(lines(*chats("1")), ReadOptions(speakers={"Tom": "boss"}))


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, text in EXAMPLES if "csds" not in name],
)
def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path, name, text):
    pretty = json.dumps(json.loads(text), indent=1) if Source(name, text).is_json else text
    path = tmp_path / "file"
    path.write_bytes(pretty.encode())
    plain = read_dialogues(open_source(path), ReadOptions(format=name))
    path.write_bytes(b"\xef\xbb\xbf" + pretty.replace("\n", "\r\n").encode())
    assert read_dialogues(open_source(path), ReadOptions(format=name)) == plain


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("samsum", {"id": "1", "dialogue": "Anna: hi"}, {"id": None, "dialogue": "Anna: hi"}),
        ("csds", {"id": "1", "dialogue": UTTERANCES}, {"id": None, "dialogue": UTTERANCES}),
        ("tweetsumm", {"id": "1", "turns": ["hi"]}, {"id": None, "turns": ["hi"]}),
        ("rolesum", {"id": "1", "turns": TURNS}, {"id": None, "turns": TURNS}),
    ],
)
def test_a_record_whose_id_is_null_has_no_id(name, good, bad):
    first, second = parse_dialogues(lines(good, bad), ReadOptions(format=name))
    assert first.id == "1"
    assert isinstance(second, Problem)
    assert "id" in second.what


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("samsum", {"id": "2"}),
        ("samsum", {"id": "2", "dialogue": ""}),
        ("samsum", {"id": "2", "dialogue": ["Anna: hi"]}),
        ("samsum", "text"),
        ("csds", {"id": "2"}),
        ("csds", {"id": "2", "dialogue": []}),
        ("csds", {"id": "2", "dialogue": 5}),
        ("csds", {"id": "2", "dialogue": "用户：你好"}),
        ("csds", {"id": "2", "dialogue": [{"speaker": ["用户"], "utterance": "你好"}]}),
        ("csds", {"id": "2", "dialogue": [{"speaker": "用户"}]}),
        ("csds", {"id": "2", "dialogue": [{"speaker": "用户", "utterance": " "}]}),
        ("csds", ["text"]),
        ("tweetsumm", {"id": "2"}),
        ("tweetsumm", {"id": "2", "turns": []}),
        ("tweetsumm", {"id": "2", "turns": [" "]}),
        ("tweetsumm", {"id": "2", "turns": ["hi", 5]}),
        ("tweetsumm", {"id": "2", "turns": ["hi"], "refs": 5}),
        ("tweetsumm", {"id": "2", "turns": ["hi"], "refs": ["A greeting."]}),
        ("tweetsumm", {"id": "2", "turns": ["hi"], "refs": [{"user": 5, "agent": "They greet."}]}),
        ("tweetsumm", 5),
        ("rolesum", {"id": "2"}),
        ("rolesum", {"id": "2", "turns": "Anna: hi"}),
        ("rolesum", None),
    ],
)
def test_a_record_that_cannot_be_used_is_a_problem_with_its_line_and_never_a_crash(name, bad):
    (item,) = parse_dialogues(Source("chats.json", f"[\n{json.dumps(bad)}]"), ReadOptions(format=name))
    assert isinstance(item, Problem)
    assert item.where.startswith("chats.json:2")
    assert item.fix
