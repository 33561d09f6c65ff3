"""Times as they are shown to a reader: short, without what all turns share, and never in a prompt."""

import pytest

from helpers.asset_files import read_asset
from rolesum.dialogue import Dialogue, Turn
from rolesum.formats.shown_times import shown_times, times_of


def shown(*times):
    return list(shown_times(Dialogue("d", tuple(Turn("Anna", "hi", time) for time in times))))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("captions/cueid_speaker.vtt", "02:00"),
        ("captions/speaker_bracket.srt", "00:01"),
        ("captions/labels.sbv", "00:01"),
        ("text/bracket_arrow.txt", "00:03"),
        ("text/otter_h.txt", "1:00:03"),
        ("text/log_ampm.txt", "10:01 PM"),
        ("text/zoom_chat.txt", "10:02:11"),
        ("amazon/connect_chat.json", "22:00:59"),
        ("amazon/tr_chan.json", "00:00"),
        ("exports/deepgram.json", "00:00"),
        ("exports/discord.json", "22:01:05"),
        ("exports/discordce.txt", "12-Mar-23 10:01 PM"),
        ("exports/kakao.txt", "오후 10:01"),
        ("exports/line_spaces_ja.txt", "22:01"),
        ("exports/teams_chat.json", "22:01:05"),
        ("exports/telegram.json", "22:01:05"),
        ("whatsapp/wa_deleted_en.txt", "22:01"),
        ("whatsapp/wa_french.txt", "18:00"),
        ("whatsapp/wa_hindi.txt", "10:01 अपराह्न"),
        ("whatsapp/wa_arabic.txt", "١٠:٠١ م"),
        ("whatsapp/wa_turkish.txt", "ÖS 10:01"),
        ("whisper/wx_list.json", "00:00"),
    ],
)
def test_the_first_time_of_each_kind_of_file(name, expected):
    assert shown_times(read_asset(name))[0] == expected


def test_an_hour_and_a_date_stay_where_they_differ():
    assert shown("00:59:59.900", "01:00:02.100") == ["00:59:59", "01:00:02"]
    assert shown("00:12:40.500", "00:13:01") == ["12:40", "13:01"]
    days = ["2026-05-04T23:59:00Z", "2026-05-05T00:01:00Z"]
    assert shown(*days) == ["2026-05-04 23:59:00", "2026-05-05 00:01:00"]
    assert shown("2026-05-04T10:00Z", "2026-05-04T12:00+02:00") == ["10:00Z", "12:00+02:00"]


def test_a_turn_without_a_time_has_none_and_a_dialogue_without_any_is_empty():
    assert shown("", "00:00:05.200", "") == ["", "00:05", ""]
    assert shown("", "") == []
    assert shown("after lunch", "10:00") == ["after lunch", "10:00"]
    assert times_of((1, 0), ("", "00:05")) == ("00:05", "")
    assert times_of((0,), ("", "00:05")) == () and times_of((0,), ()) == ()
