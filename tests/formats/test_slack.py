import json
import zipfile

import pytest

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
    [("t.docx", "word/document.xml", "Word document"), ("chat.zip", "_chat.txt", "a zip without users.json")],
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
