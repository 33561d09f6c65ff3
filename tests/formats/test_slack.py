import json
import zipfile

import pytest

from helpers.asset_files import ASSETS, said_in
from rolesum.errors import DataError, Problem
from rolesum.formats import open_source, parse_dialogues, read_dialogues, sniff_format

USERS = [
    {"id": "U1", "name": "anna", "profile": {"display_name": "Anna", "real_name": "Anna Weber"}},
    {"id": "U2", "name": "tom", "real_name": "Tom Lee", "profile": {"display_name": "", "real_name": "Tom Lee"}},
    {"id": "U3", "name": "anna2", "profile": {"display_name": "Anna"}},
]
THREAD = "1704412800.000100"


def said(ts, text, user="U2", **more):
    return {"type": "message", "ts": ts, "text": text, "user": user, **more}


FILES = {
    "users.json": USERS,
    "channels.json": [{"id": "C1", "name": "help"}],
    "help/2024-01-05.json": [
        said("1704412700.000100", "<@U1> has joined the channel", "U1", subtype="channel_join"),
        said(THREAD, "Is <https://x.org/a?b=1&amp;c|the site> down? <!here>\nsee <#C1|help>", "U1", thread_ts=THREAD),
        said("1704412900.000100", "Morning <@U3> &lt;3"),
        said("1704412950.000100", "", files=[{"id": "F1"}]),
    ],
    "help/2024-01-06.json": [
        said("1704499200.000100", "Fixed.", thread_ts=THREAD),
        said("1704499300.000100", "Deployed", None, subtype="bot_message", username="deploybot"),
    ],
    "D1/2024-01-06.json": [said("1704499400.000100", "psst", "U9", user_profile={"real_name": "Guest"})],
}


@pytest.fixture
def export(tmp_path):
    """Writes an export's files, changed or left out by `change`, to a directory."""

    def write(change=None):
        for name, value in {**FILES, **(change or {})}.items():
            path = tmp_path / "export" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1), encoding="utf-8")
        return tmp_path / "export"

    return write


def by_id(path):
    return {
        dialogue.id: [(turn.speaker, turn.text) for turn in dialogue.turns]
        for dialogue in read_dialogues(open_source(path))
    }


DIALOGUES = {
    f"help/{THREAD}": [("Anna (U1)", "Is the site down? @here see #help"), ("Tom Lee", "Fixed.")],
    "help/2024-01-05": [("Tom Lee", "Morning @Anna (U3) <3")],
    "help/2024-01-06": [("deploybot", "Deployed")],
    "D1/2024-01-06": [("Guest", "psst")],
}


def test_a_thread_is_a_dialogue_over_its_days_and_the_rest_of_a_channels_day_is_one(export):
    path = export()
    assert sniff_format(open_source(path)).name == "slack"
    assert by_id(path) == DIALOGUES


def test_times_and_what_was_dropped_are_in_the_meta(export):
    found = {dialogue.id: dialogue.meta for dialogue in read_dialogues(open_source(export()))}
    assert found["help/2024-01-05"] == {
        "channel": "help",
        "start": "2024-01-05T00:01:40+00:00",
        "end": "2024-01-05T00:01:40+00:00",
        "dropped": {"system": 1, "media": 1},
    }


@pytest.mark.parametrize("around", ["", "Team export/"])
def test_a_zip_reads_as_its_directory_does(export, tmp_path, around):
    path = export()
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for file in path.rglob("*.json"):
            archive.write(file, around + file.relative_to(path).as_posix())
        archive.writestr("__MACOSX/users.json", "no json")
    assert by_id(tmp_path / "export.zip") == DIALOGUES


def test_a_day_with_a_broken_message_is_told_by_file_and_line_and_left_out(export):
    path = export({"D1/2024-01-06.json": '[\n{"ts": "1704499400.0001", "text": "a"},\n{"text": "no time"}\n]'})
    items = list(parse_dialogues(open_source(path)))
    (problem,) = [item for item in items if isinstance(item, Problem)]
    assert problem.where == f"{path}/D1/2024-01-06.json:3"
    assert {item.id for item in items if not isinstance(item, Problem)} == DIALOGUES.keys() - {"D1/2024-01-06"}


def test_a_member_who_is_no_object_is_a_problem(export):
    with pytest.raises(DataError, match=r"users\.json:1"):
        read_dialogues(open_source(export({"users.json": '["U1"]'})))


def test_two_exports_that_differ_have_two_texts(export):
    first = open_source(export()).text
    assert open_source(export({"D1/2024-01-06.json": [said("1704499400.0", "other")]})).text != first


@pytest.mark.parametrize(
    ("name", "inside", "told"),
    [("t.docx", "word/document.xml", "XML is broken"), ("chat.zip", "_chat.txt", "a zip that is no Slack export")],
)
def test_other_zips_are_refused_with_a_way_out(tmp_path, name, inside, told):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr(inside, "x")
    with pytest.raises(DataError, match=told):
        open_source(tmp_path / name)


def test_a_cut_zip_is_refused(export, tmp_path):
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="cannot read the zip"):
        open_source(tmp_path / "cut.zip")


SAID = [
    ("Zendesk", "New ticket Ticket 4417: parcel missing"),
    ("Zendesk", "Customer asks for a refund of 20 EUR"),
    ("Tom F", "I will refund today."),
    ("Tom F", "It is at the depot"),
    ("Tom F", "FYI (Nadia: Forwarded: the parcel is damaged)"),
]


def test_blocks_attachments_forwards_and_clips_are_said_and_dates_and_channels_are_named():
    assert said_in("slack/workspace") == [("Nadia", "@Tom F parcel missing, see #depot since Jan 5, 2024"), *SAID]


def test_a_channels_export_without_members_is_read(tmp_path):
    ids = [("U2" if who == "Tom F" else who, text) for who, text in SAID]
    first = ("U1", "@U2 parcel missing, see #depot since Jan 5, 2024")
    assert said_in("slack/channel") == [first, *ids]
    folder = ASSETS / "slack" / "channel"
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in folder.rglob("*.json"):
            archive.write(path, f"export/{path.relative_to(folder).as_posix()}")
    assert said_in(tmp_path / "export.zip") == [first, *ids]
    alone = [("U1", "@U2 parcel missing, see #C9 since Jan 5, 2024"), *ids]
    assert said_in("slack/channel/support") == said_in("slack/channel/support/2024-01-05.json") == alone


def test_members_are_named_by_their_messages_where_no_list_names_them(tmp_path):
    (tmp_path / "help").mkdir()
    profile = {"display_name": "Anna", "real_name": "Anna Weber"}
    messages = [
        said("1.0", "hi", "U1", user_profile=profile),
        said("2.0", "hello <@U1>", "U2"),
        said("3.0", "so", "U1"),
    ]
    (tmp_path / "help" / "2024-01-05.json").write_text(json.dumps(messages))
    assert by_id(tmp_path) == {"help/2024-01-05": [("Anna", "hi"), ("U2", "hello @Anna"), ("Anna", "so")]}


RICH = [
    {"type": "text", "text": "see "},
    {"type": "link", "url": "https://x.org", "text": "this"},
    {"type": "text", "text": ", "},
    {"type": "user", "user_id": "U2"},
    {"type": "emoji", "name": "wave"},
    {"type": "channel", "channel_id": "C1"},
]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": RICH}]}]}, None),
        (
            {
                "blocks": [
                    {
                        "type": "rich_text",
                        "elements": [
                            {
                                "type": "rich_text_list",
                                "elements": [
                                    {"type": "rich_text_section", "elements": [{"type": "text", "text": word}]}
                                    for word in ("one", "two")
                                ],
                            }
                        ],
                    }
                ]
            },
            "one two",
        ),
        (
            {
                "text": "New ticket",
                "bot_id": "B1",
                "blocks": [
                    {"type": "header", "text": {"type": "plain_text", "text": "New ticket 17"}},
                    {"type": "section", "fields": [{"type": "mrkdwn", "text": "from <@U2>"}]},
                    {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Ok"}}]},
                ],
            },
            "New ticket 17 from @Tom Lee",
        ),
        (
            {"text": "<https://x.org>", "attachments": [{"from_url": "https://x.org", "text": "A page", "title": "X"}]},
            "https://x.org",
        ),
        (
            {"text": "", "attachments": [{"title": "Ticket 17", "fields": [{"title": "State", "value": "open"}]}]},
            "Ticket 17 State: open",
        ),
        ({"text": " ", "attachments": [{"pretext": "pre", "title": "T", "text": "body"}]}, "pre T body"),
        ({"text": "pre", "attachments": [{"pretext": "pre", "fields": [{"value": "open"}]}]}, "pre open"),
        ({"text": " ", "attachments": [{"pretext": "for <@U2>", "fallback": "Ticket 17"}]}, "for @Tom Lee Ticket 17"),
        ({"text": " ", "attachments": [{"pretext": "pre", "fallback": "pre: Ticket 17"}]}, "pre: Ticket 17"),
        (
            {"text": "a", "attachments": [{"pretext": "b", "blocks": [{"type": "section", "text": {"text": "c"}}]}]},
            "a b c",
        ),
        (
            {
                "blocks": [
                    {
                        "type": "rich_text",
                        "elements": [
                            {
                                "type": "rich_text_section",
                                "elements": [
                                    {"type": "text", "text": "due "},
                                    {"type": "date", "timestamp": 1704450000},
                                    {"type": "date"},
                                ],
                            }
                        ],
                    }
                ]
            },
            "due 2024-01-05",
        ),
        ({"text": "due <!date^1704450000^{date}|Jan 5> <!subteam^S1|@crew>, <!channel>"}, "due Jan 5 @crew, @channel"),
    ],
)
def test_every_place_of_a_message_gives_its_words(export, message, text):
    path = export({"D1/2024-01-06.json": [said("1704499400.000100", message.pop("text", ""), **message)]})
    assert by_id(path)["D1/2024-01-06"] == [("Tom Lee", text or "see this, @Tom Lee:wave:#help")]
