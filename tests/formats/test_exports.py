"""Exports and JSON of vendors: each file is known as its own format and read with its speakers."""

import json

import pytest

from helpers.asset_files import ASSETS, read_asset
from helpers.exports import EXPECTED, WITH_ROLES
from rolesum.errors import DataError, Problem
from rolesum.formats import FORMATS, ReadOptions, Source, open_source, parse_dialogues, read_dialogues, sniff_format


def source(value, name="chat.json"):
    return Source(name, json.dumps(value))


def said(value, **options):
    (dialogue,) = read_dialogues(source(value), ReadOptions(**options))
    return [(turn.speaker, turn.text) for turn in dialogue.turns]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_export_is_known_as_itself_and_read(name):
    form, turns = EXPECTED[name]
    assert sniff_format(open_source(ASSETS / "exports" / name)).name == form
    dialogue = read_asset(f"exports/{name}")
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == turns
    if form in WITH_ROLES:
        assert dialogue.roles == {turns[0][0]: "user", turns[1][0]: "agent"}


def test_every_file_of_exports_is_expected():
    assert {path.name for path in (ASSETS / "exports").iterdir()} == {*EXPECTED, "qq_all.txt"}


def test_a_file_of_several_chats_is_a_dialogue_each():
    found = read_dialogues(ASSETS / "exports" / "qq_all.txt")
    assert {one.id: [(turn.speaker, turn.text) for turn in one.turns] for one in found} == {
        "小王": [("小王", "包裹没到"), ("客服", "我查一下")],
        "取件群": [("小李", "明天取件早上九点"), ("小张", "好的")],
    }


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("chatgpt.json", {"system": 2}),
        ("kakao_mac.csv", {"system": 1, "media": 1}),
        ("kakao_pc.txt", {"system": 1, "media": 1}),
        ("line_group.txt", {"system": 1, "media": 1}),
        ("line.txt", {"system": 1, "media": 1}),
        ("discordce.txt", None),
        ("telegram_all.json", {"system": 1, "media": 1}),
        ("zendesk_ticket.json", {"system": 1}),
        ("openai_list.json", {"system": 2, "media": 1}),
    ],
)
def test_what_no_one_wrote_and_what_has_no_words_is_dropped_and_counted(name, dropped):
    assert read_asset(f"exports/{name}").meta.get("dropped") == dropped


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("chatgpt.json", ["2023-03-12T22:01:05+00:00", "2023-03-12T22:02:05+00:00"]),
        ("deepgram_paragraphs.json", ["00:00:00.100", "00:00:02.500"]),
        ("azure_realtime.json", ["00:00:00.130", "00:00:02.500"]),
        ("assemblyai_paragraphs.json", ["00:00:00.250", "00:00:02.100"]),
        ("kakao_mac.csv", ["2023-03-12 22:01:05", "2023-03-12 22:02:10"]),
        ("line_spaces.txt", ["Sun, 3/12/2023 10:01 PM", "Sun, 3/12/2023 10:02 PM"]),
        ("messenger.json", ["2023-03-12T22:01:05+00:00", "2023-03-12T22:02:05+00:00"]),
        ("line_ja.txt", ["2023/03/12(日) 午後10:01", "2023/03/13(月) 午前8:02"]),
        ("wechat.txt", ["2023-03-12 22:01", "2023-03-12 22:02"]),
        ("zendesk_chat.json", ["2023-03-12T22:01:05Z", "2023-03-12T22:02:05Z"]),
    ],
)
def test_times_are_those_of_the_messages(name, times):
    assert [turn.time for turn in read_asset(f"exports/{name}").turns] == times


def test_the_ids_of_the_files_are_the_dialogues_ids():
    assert [read_asset(f"exports/{name}.json").id for name in ("genesys", "assemblyai", "rev")] == ["g1", "a1", "rev"]


def test_two_people_of_one_name_are_two_speakers():
    value = {
        "comments": [{"author_id": 1, "body": "Hi"}, {"author_id": 2, "body": "Hello"}],
        "users": [{"id": 1, "name": "Ann", "role": "end-user"}, {"id": 2, "name": "Ann", "role": "agent"}],
    }
    assert said(value) == [("Ann (1)", "Hi"), ("Ann (2)", "Hello")]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("deepgram", {"results": {"channels": [{"alternatives": 5}]}}),
        ("deepgram", {"results": None}),
        ("google-speech", {"results": [{"alternatives": ["x"]}]}),
        ("telegram", {"messages": ["x"]}),
        ("rev", {"monologues": [{"speaker": 0, "elements": []}]}),
        ("openai", {"messages": [{"role": "system", "content": "Be kind."}]}),
        ("zendesk", 5),
        ("meet", None),
    ],
)
def test_a_record_of_another_form_is_a_problem_with_its_line(form, value):
    (item,) = parse_dialogues(Source("chat.json", f"[\n{json.dumps(value)}]"), ReadOptions(format=form))
    assert isinstance(item, Problem) and item.where.startswith("chat.json:2")


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_no_format_takes_the_file_of_another_for_its_own(form):
    for name, (own, _) in EXPECTED.items():
        opened = open_source(ASSETS / "exports" / name)
        outranked = form in FORMATS[own].outranks
        assert FORMATS[form].matches(opened) is (form == own) or outranked


@pytest.mark.parametrize(
    "text",
    [
        "2023-03-12 22:01:05 INFO started\n2023-03-12 22:01:06 INFO ready",
        "Nadia Brook  0:03\nHello there.\n\nTom Field  0:09\nHi.",
        "[12/31/23, 10:02:11 PM] Messages are encrypted.\n[12/31/23, 10:02:12 PM] Anna: hi",
    ],
)
def test_other_lines_with_times_are_of_no_chat_app(text):
    names = {"line", "kakaotalk", "qq", "wechat", "discord"}
    assert not [name for name in names if FORMATS[name].matches(Source("x.txt", text))]


def test_a_chatgpt_conversation_without_a_current_node_is_its_last_answers():
    def node(parent, *children, **message):
        said = message and {"author": {"role": message["who"]}, "content": {"parts": [message["text"]]}}
        return {"parent": parent, "children": list(children), "message": said or None}

    nodes = {
        "r": node(None, "u"),
        "u": node("r", "a", "b", who="user", text="Hi"),
        "a": node("u", who="assistant", text="No."),
        "b": node("u", who="assistant", text="Yes."),
    }
    assert said([{"mapping": nodes, "create_time": 1}]) == [("user", "Hi"), ("assistant", "Yes.")]
    loop = {"u": node("b", "b", who="user", text="Hi"), "b": node("u", "u", who="assistant", text="Yes.")}
    assert len(said([{"mapping": loop, "current_node": "b"}])) == 2


@pytest.mark.parametrize(
    "text",
    [
        "2023.03.12 Sunday\n22:01 Nadia: hello\n22:02 Tom: hi",
        "2023.03.12 Sunday\n22:01 Nadia\nhello\n22:02 Tom\nhi",
        "22:01 Nadia hello\n22:02 Tom hi",
        "Agenda of Sunday\n22:01 we begin\n22:02 we end",
    ],
)
def test_times_and_words_without_lines_own_days_are_no_chat_of_line(text):
    assert not FORMATS["line"].matches(Source("x.txt", text))


def test_a_name_that_no_tab_ends_is_what_all_messages_of_a_sender_begin_with():
    text = "2023.03.12 Sunday\n22:01 Ann B. hi\n22:02 Tom hi there\n22:03 Ann B. ok\n22:04 Tom hi again"
    (dialogue,) = read_dialogues(Source("x.txt", text))
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [
        ("Ann B.", "hi"),
        ("Tom", "hi there"),
        ("Ann B.", "ok"),
        ("Tom", "hi again"),
    ]


def test_notices_of_messenger_are_dropped_and_speech_like_them_is_not():
    texts = ["Reacted \u2764 to your message", "Tom Field sent an attachment.", "I left the group", "The call ended."]
    messages = [{"sender_name": "Tom Field", "timestamp_ms": 1, "content": text} for text in texts]
    assert said({"messages": messages}) == [("Tom Field", "I left the group")]


def test_a_deleted_account_of_telegram_is_a_speaker_without_a_role():
    message = {"type": "message", "date": "2023-03-12T22:01:05", "from": None, "from_id": "user2", "text": "Hi"}
    (dialogue,) = read_dialogues(source({"messages": [message]}))
    assert (dialogue.turns[0].speaker, dialogue.roles) == ("Deleted Account (user2)", {})


def test_utterances_of_deepgram_need_nothing_else():
    utterances = [{"start": place, "transcript": "Hi", "speaker": place} for place in (0, 1)]
    assert said({"results": {"utterances": utterances}}) == [("Speaker 0", "Hi"), ("Speaker 1", "Hi")]


def test_paths_map_any_other_json():
    value = {
        "data": {"items": [{"who": {"name": "Ann"}, "body": "Hi", "at": 2.5}, {"who": {"name": "Tom"}, "body": "Oh"}]}
    }
    paths = {"turns": "data.items", "speaker": "who.name", "text": "body", "time": "at"}
    (dialogue,) = read_dialogues(source(value), ReadOptions(json_path=paths))
    assert [(turn.speaker, turn.text, turn.time) for turn in dialogue.turns] == [
        ("Ann", "Hi", "00:00:02.500"),
        ("Tom", "Oh", ""),
    ]


def test_mapped_records_have_ids_roles_and_summaries():
    turns = [{"n": "Ann", "t": "Hi", "r": "customer"}, {"n": "Tom", "t": "Oh", "r": "seller"}]
    values = [{"key": number, "talk": turns, "gist": "They greet."} for number in (1, 2)]
    paths = {"turns": "talk", "speaker": "n", "text": "t", "role": "r", "id": "key", "summary": "gist"}
    options = ReadOptions(json_path=paths, custom_roles={"seller": []})
    found = read_dialogues(source(values), options)
    assert [one.id for one in found] == ["1", "2"]
    assert found[0].roles == {"Ann": "user", "Tom": "seller"}
    assert found[0].summaries == {"overall": ("They greet.",)}


def test_the_records_of_a_file_may_be_the_turns():
    values = [{"who": "Ann", "what": "Hi"}, {"who": "Tom", "what": "Oh"}]
    paths = {"turns": ".", "speaker": "who", "text": "what"}
    assert said(values, json_path=paths) == [("Ann", "Hi"), ("Tom", "Oh")]


def test_a_message_may_have_lines_like_those_of_discords_header():
    header = "=====\nGuild: Depot\nChannel: help\nTopic: parcels\n=====\n\n"
    text = f"{header}[12-Mar-23 10:01 PM] nadia\nTopic: my parcel\nAfter: Monday\n\n[12-Mar-23 10:02 PM] tom\nok\n"
    (dialogue,) = read_dialogues(Source("chat.txt", text))
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [
        ("nadia", "Topic: my parcel After: Monday"),
        ("tom", "ok"),
    ]


@pytest.mark.parametrize("form", ["line", "kakaotalk", "qq", "wechat"])
def test_a_text_without_messages_of_the_named_app_is_a_problem(form):
    (item,) = parse_dialogues(Source("chat.txt", "Dear all,\nthank you.\n"), ReadOptions(format=form))
    assert isinstance(item, Problem) and f"a message of the format {form}" in item.what and "--format" in item.fix


def test_unknown_json_is_refused_with_the_paths_that_it_has():
    value = {"data": {"items": [{"who": "Ann", "body": "Hi"}]}}
    with pytest.raises(DataError, match=r"--json-path .*data\.items \(who, body\)"):
        read_dialogues(source(value))
    with pytest.raises(DataError, match=r"data\.items \(who, body\)"):
        read_dialogues(source(value), ReadOptions(json_path={"turns": "items", "text": "body"}))


def test_azures_results_in_real_time_are_read_in_every_form_and_those_without_success_are_dropped():
    def result(status, start, **rest):
        return {"Id": "a", "RecognitionStatus": status, "Offset": start * 10_000_000, "Duration": 10, **rest}

    results = [
        result(0, 3, Text="one", Speaker=2),
        result("Success", 1, NBest=[{"Display": "two.", "Lexical": "too"}], SpeakerId="Guest-1"),
        result("Success", 2, NBest=[{"Lexical": "three"}], SpeakerId="Guest-1"),
        result("NoMatch", 4, Text="four", SpeakerId="Guest-1"),
    ]
    assert said(results) == [("Guest-1", "two. three"), ("Speaker 2", "one")]
    lines = Source("call.jsonl", "\n".join(map(json.dumps, results)))
    assert sniff_format(lines).name == "azure-speech"
    (dialogue,) = read_dialogues(lines)
    assert (dialogue.id, [turn.time for turn in dialogue.turns]) == ("call", ["00:00:01", "00:00:03"])


def test_azures_results_without_speakers_are_refused_unless_a_rule_names_them():
    results = [{"RecognitionStatus": "Success", "Offset": 0, "Duration": 10, "DisplayText": "Hello."}]
    with pytest.raises(DataError, match="1 of 1 turn without a speaker"):
        said(results)
    assert said(results, unknown_speaker="name=Caller") == [("Caller", "Hello.")]
