"""Sizes of a source: counted before anything is parsed, and refused only where they are limited."""

import io
import json
import struct
import time
import zipfile

import pytest

from rolesum.errors import DataError, SizeError
from rolesum.formats import read_dialogues
from rolesum.formats.options import DEFAULT_LIMITS, SourceLimits
from rolesum.formats.source import Source, check_num_values, decode_source, records_with_ids


def is_refused(text, most):
    try:
        check_num_values([Source("x", text)], "x", most)
    except SizeError as error:
        assert error.problems[0].where == "x" and error.problems[0].fix
        return True
    return False


def num_values(value):
    """Every value counts once, an empty object or array twice."""
    if not isinstance(value, dict | list):
        return 1
    inside = value.values() if isinstance(value, dict) else value
    return 1 + (sum(map(num_values, inside)) if value else 1)


@pytest.mark.parametrize(
    "value",
    [
        {"id": 1, "turns": [{"speaker": "a", "text": 'b, [c], {d}, "e", \\'} for _ in range(50)]},
        {"segments": [{}] * 100, "words": [[]] * 100, "text": "1,2,3,[" * 100},
        [[[[1, 2], [3, "],[,"]], "a\\"], {"a": {"b": [None, True, -1.5e3]}}],
        ['\\",' * 50, "\\", '"', ","],
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_json_values_are_counted_but_not_what_strings_hold(value, indent):
    text = json.dumps(value, indent=indent)
    count = num_values(value)
    assert is_refused(text, 1) and is_refused(text, count // 2)
    assert not is_refused(text, max(count, text.count("\n")) + 2)


@pytest.mark.parametrize(
    "text", ["a,b\n" * 100, "\t" * 100, ";" * 100, "A: b\n" * 100, "1\n" * 100, "[" * 100, "{" * 100]
)
def test_cells_and_lines_are_counted(text):
    assert is_refused(text, 90) and not is_refused(text, 220) and not is_refused(text, None)


@pytest.mark.parametrize("unit", ['\\"', '["', '"",', "\\", '\n"'])
def test_values_are_counted_in_linear_time(unit):
    text, begun = '["' + unit * 1_000_000, time.process_time()
    is_refused(text, 10)
    is_refused("[" + text, 10**7)
    assert time.process_time() - begun < 5


def export(messages, days=1, method=zipfile.ZIP_DEFLATED):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", method) as archive:
        archive.writestr("users.json", "[]")
        for day in range(days):
            archive.writestr(f"c/2026-01-{day + 1:02d}.json", messages)
    return raw.getvalue()


MESSAGES = json.dumps([{"ts": "1", "user": "Anna", "text": "hello"}] * 100)


def test_the_files_of_a_zip_are_limited_together():
    raw = export(MESSAGES, days=5)
    assert len(read_dialogues(decode_source(raw, "x.zip", SourceLimits(max_values=2100, max_files=6)))) == 5
    for limits in (SourceLimits(max_values=1900), SourceLimits(max_files=5), SourceLimits(max_bytes=10_000)):
        with pytest.raises(SizeError) as error:
            decode_source(raw, "x.zip", limits)
        assert error.value.problems[0].where == "x.zip" and error.value.problems[0].fix


def test_a_file_of_a_zip_is_not_unpacked_beyond_the_size_that_the_zip_says():
    size = 10**8
    raw = export(bytes(size)).replace(struct.pack("<I", size), struct.pack("<I", 10))
    with pytest.raises(DataError, match="Bad CRC"):
        decode_source(raw, "x.zip")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(DataError, match="deflate"):
            decode_source(export(MESSAGES, method=method), "x.zip")


def test_a_file_that_the_user_names_may_have_any_number_of_values(tmp_path):
    path = tmp_path / "many.json"
    path.write_text(json.dumps({"id": 1, "meta": {"n": [0] * 3_000_000}, "turns": [{"speaker": "a", "text": "b"}]}))
    assert len(read_dialogues(path)) == 1 and DEFAULT_LIMITS.max_values is None


def test_records_without_ids_are_named_by_the_file_and_numbered_where_there_are_several():
    def names(text):
        return [name for name, _ in records_with_ids(Source("call.json", text))]

    assert names('{"a": 1}') == ["call"]
    assert names('{"a": 1}\n{"a": 2}\n{"a": 3}') == ["call-1", "call-2", "call-3"]
