"""Unpacking and decoding of files: gzip and zstd, UTF-8 and the encodings of older programs.

An encoding is detected only where the bytes leave no doubt: bytes of one encoding nearly always mean something in
others too, so everything else is refused with the encodings that it may be.
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from rolesum.errors import DataError, SizeError, UsageError, did_you_mean
from rolesum.formats import parquet

UTF8 = "utf-8"
# Encodings that no other text passes for, so that how a file was read need not be said.
SURE_ENCODINGS = (UTF8, "utf-16", "utf-16-le", "utf-16-be", "utf-32")

# What --encoding takes, by the names of Python's codecs; their other names are taken too.
ENCODINGS = (
    *(UTF8, "utf-16", "utf-16-le", "utf-16-be", "utf-32"),
    *("gb18030", "gbk", "gb2312", "big5", "big5hkscs", "cp950"),
    *("shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr", "cp949"),
    *(f"cp{number}" for number in range(1250, 1259)),
    *("ascii", "iso8859-1", *(f"iso8859-{number}" for number in (*range(2, 12), *range(13, 17)))),
    *("koi8-r", "koi8-u", "cp437", "cp850", "cp852", "cp866", "cp874", "tis-620", "mac-roman", "mac-cyrillic"),
)
_KNOWN = {codecs.lookup(name).name for name in ENCODINGS}
# These take a byte order mark away; without one, utf-16 is that of Windows.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 1_000_000  # of a file, from which its encoding is detected

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_STEP = 1024  # bytes that are unpacked at one time: they hold 32 MB at most
PACKED_MAGIC = (_GZIP, _ZSTD)
PACKED_SUFFIXES = (".gz", ".zst")
# The first bytes of files that hold no text -> what they are, and what to do with them.
_UNREADABLE = {
    parquet.MAGIC: ("a Parquet file", "name the file on the command line, or write it as JSON lines"),
    b"BZh": ("a file packed by bzip2", "unpack it, or pack it by gzip or zstd"),
    b"\xfd7zXZ\x00": ("a file packed by xz", "unpack it, or pack it by gzip or zstd"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it"),
    b"%PDF-": ("a PDF", "save its text as a text file"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("a file of an older Office", "save it as text, or as CSV in UTF-8"),
}

# The most frequent Chinese characters, of talk with customers too. They are about half of any Chinese text.
_FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然"
    "家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把"
    "机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果"
    "加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活"
    "尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治"
    "您请客服户谢单货款订查询退换快递包裹收帮吗呢吧啊号码钱买卖店优惠价格付送等待稍麻烦抱歉需要核实处理申请联系"
)
# The bytes of the Chinese signs and full-width letters, and of the 3,755 common characters, in GB2312.
_COMMON_GB = re.compile(rb"[\xa1\xa3][\xa1-\xfe]|[\xb0-\xd6][\xa1-\xfe]|\xd7[\xa1-\xf9]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
# Control characters without those that texts have: tab, line ends, form feed, and the escape of ISO 2022.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

# Letters of Western European languages in cp1252, and its signs. Letters that Eastern European languages have at the
# same byte in cp1250 are left out, or taken only where the Western languages write them.
_LETTERS = "àáâãäåæçèéêëìíîïñòóôõöøùúûüœßÿ"
_CAPITALS = "ÀÁÂÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖØÙÚÛÜŒŸ"
_SIGNS = "’‘“”„‚…–—•€£¥¢§©®™°«»¡¿·´¨ªº²³½¼¾±×÷\xa0\xad‹›"
_ALONE = "àéèòöåæøÀÉÈÒÖÅÆØ"  # letters that are words
_ANY_LETTER = f"a-zA-Z{_LETTERS}{_CAPITALS}"
# Where one of these is found, the encoding is another one.
_MISREAD = re.compile(
    rf"[{_ANY_LETTER}][“”„‚…•€£¥¢§©®™«»¨±×÷\xad][{_ANY_LETTER}]"  # signs between letters
    rf"|[{_ANY_LETTER}][¿¡„‚ªº¹²³](?<!m[²³])|[£¹²³][{_ANY_LETTER}]"  # signs beside letters
    rf"|[a-z{_LETTERS}][{_CAPITALS}]|\d[{_LETTERS}{_CAPITALS}]|[{_LETTERS}{_CAPITALS}]\d"  # in a word, beside a digit
    rf"|ã(?![oe])|õ(?!e)|œ(?![uied])|ñ(?![aeiouáéíóú])|[êæ](?![{_ANY_LETTER}])"  # of cp1250: ă, ő, ś, ń, ę, ć
    rf"|[ùìò](?=[{_ANY_LETTER}])|(?<![{_ANY_LETTER}])è(?=[{_ANY_LETTER}])"  # ů, ě, ň, č
)
_WORD = re.compile(r"[^\W\d_]+")
_MAX_GUESSES = 4


class Decoded(NamedTuple):
    """The text of a file, and the encoding that it was read as."""

    text: str
    encoding: str = UTF8


def encoding_name(given: str) -> str:
    """The codec of an encoding that the user names. Raises UsageError."""
    try:
        name = codecs.lookup(given).name
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        name = ""
    if name not in _KNOWN:
        raise UsageError(f'unknown encoding "{given[:100]}"', "--encoding", did_you_mean(given.lower(), ENCODINGS))
    return name


def unpack(raw: bytes, name: str, max_bytes: int) -> bytes:
    """The bytes that a .gz or .zst file holds; all others as they are.

    Raises SizeError for more than `max_bytes`, DataError for a broken file, UsageError where zstandard is missing.
    """
    try:
        if raw.startswith(_GZIP):
            found = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(max_bytes + 1)
        elif raw.startswith(_ZSTD):
            found = _unpack_zstd(raw, name, max_bytes)
        else:
            return raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot unpack the file: {error}", name, "it is cut or damaged: copy it again") from None
    if len(found) > max_bytes:
        raise SizeError(f"unpacked it has more than {max_bytes:,} bytes", name, "split it into several smaller files")
    return found


class _ZstdFrame(Protocol):
    """What unpacks one frame, in Python's own module and in zstandard."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _unpack_zstd(raw: bytes, name: str, max_bytes: int) -> bytes:
    """The bytes of all frames, or little more than `max_bytes` of them. Raises OSError for a broken or cut file."""
    new_frame, error_type = _zstd(name)
    parts: list[bytes] = []
    size = position = 0
    frame: _ZstdFrame | None = None
    while position < len(raw) and size <= max_bytes:
        frame = frame or new_frame()
        try:
            parts.append(frame.decompress(raw[position : position + _ZSTD_STEP]))
        except error_type as error:
            raise OSError(str(error)) from None
        size += len(parts[-1])
        position = min(len(raw), position + _ZSTD_STEP)
        if frame.eof:
            position -= len(frame.unused_data)
            frame = None
    if frame is not None and size <= max_bytes:
        raise EOFError("the file ends before its last frame does")
    return b"".join(parts)


def _zstd(name: str) -> tuple[Callable[[], _ZstdFrame], type[Exception]]:
    """What makes a decompressor for a frame, and its error: of Python's own module (from 3.14 on) or of zstandard."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # new in Python 3.14
    except ImportError:
        pass
    else:
        return zstd.ZstdDecompressor, zstd.ZstdError
    try:
        import zstandard
    except ImportError:
        fix = "pip install 'rolesum[zstd]', or unpack it (zstd -d FILE)"
        raise UsageError("reading .zst needs zstandard", name, fix) from None
    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


def decode(raw: bytes, name: str, encoding: str | None = None) -> Decoded:
    """The text of a file: in the encoding that the user names, that of its byte order mark, UTF-8, or a detected one.

    Raises DataError with the line where the bytes are no text, or where the encoding is in doubt; UsageError for an
    unknown encoding.
    """
    for start, (what, fix) in _UNREADABLE.items():
        if raw.startswith(start):
            raise DataError(f"{what}, which is not read", name, fix)
    marked = next((codec for mark, codec in _BYTE_ORDER_MARKS if raw.startswith(mark)), None)
    if encoding is not None and (codec := encoding_name(encoding)) != UTF8:
        if codec in ("utf-16-le", "utf-16-be"):
            raw = raw.removeprefix(codecs.BOM_UTF16_LE if codec == "utf-16-le" else codecs.BOM_UTF16_BE)
        return Decoded(_decoded_as(raw, codec, name), codec)
    if encoding is None and (wide := marked or _utf16_without_mark(raw)):
        return Decoded(_decoded_as(raw, wide, name), wide.removesuffix("-sig"))
    try:
        return Decoded(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        broken = error
    if encoding is None and not marked and _is_binary(raw):
        fix = "name a file of text, such as the transcript of a recording; --encoding utf-16 reads text in UTF-16"
        raise DataError("binary data and no text", name, fix)
    found = None if encoding is not None or marked else _detected(raw)
    if found is None:
        raise _not_utf8(broken, name, encoding is None and not marked)
    return Decoded(_decoded_as(raw, found, name), found)


def _decoded_as(raw: bytes, codec: str, name: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        if codec == "utf-8-sig":
            raise _not_utf8(error, name, False) from None
        line = error.object[: error.start].decode(codec, "replace").count("\n") + 1
        what = f"not {codec}: byte 0x{error.object[error.start]:02x}"
        raise DataError(what, f"{name}:{line}", "name the file's encoding with --encoding") from None


def _not_utf8(error: UnicodeDecodeError, name: str, with_guesses: bool) -> DataError:
    line = error.object.count(b"\n", 0, error.start) + 1
    guesses = _guesses(error.object) if with_guesses and not _is_broken_utf8(_sample(error.object)) else []
    if guesses:
        fix = f"name its encoding with --encoding (it may be {' or '.join(guesses)}), or save the file as UTF-8"
    else:
        fix = "mend the line, or name the file's encoding, such as --encoding GB18030, if all of it is in another one"
    return DataError(f"not UTF-8: byte 0x{error.object[error.start]:02x}", f"{name}:{line}", fix)


def _sample(raw: bytes) -> bytes:
    """Whole lines from the start of a file, those with other bytes than ASCII; the file itself if it is short."""
    if len(raw) <= _SAMPLE_BYTES:
        return raw
    lines = (line for line in raw.splitlines(keepends=True) if _NOT_ASCII.search(line))
    chosen, size = [], 0
    for line in lines:
        chosen.append(line)
        size += len(line)
        if size >= _SAMPLE_BYTES:
            break
    return b"".join(chosen)


def _is_binary(raw: bytes) -> bool:
    """Whether the bytes that are not UTF-8 are of no other text: one in fifty is a control character that none has."""
    begin = raw[:_SAMPLE_BYTES]
    return 50 * len(_CONTROL.findall(begin)) > len(begin)


def _utf16_without_mark(raw: bytes) -> str | None:
    """utf-16-le or -be, if the zero bytes of a file are those of its ASCII letters, all at one side.

    Of a text in ASCII they are half of its bytes, and other letters are no UTF-8: else it is UTF-8 with stray zeros.
    """
    if len(raw) % 2 or b"\x00" not in raw[:_SAMPLE_BYTES]:
        return None
    begin = raw[:_SAMPLE_BYTES]
    zeros = (begin[::2].count(0), begin[1::2].count(0))
    if min(zeros) > 0 or (max(zeros) < len(begin) // 4 and _is_utf8(raw)):
        return None
    codec = "utf-16-be" if zeros[0] else "utf-16-le"
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return None
    return None if re.search(r"[\x00-\x08\x0e-\x1f\ue000-\uf8ff\ufffe\uffff]", text) else codec


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode(UTF8)
    except UnicodeDecodeError:
        return False
    return True


def _detected(raw: bytes) -> str | None:
    """gb18030 or cp1252, if the bytes that are not ASCII leave no doubt; else None."""
    begin = _sample(raw)
    if _is_broken_utf8(begin):
        return None
    if _is_chinese(begin):
        return "gb18030"
    return "cp1252" if _is_western(begin) else None


def _is_broken_utf8(raw: bytes) -> bool:
    """Whether at least as many characters are right UTF-8 as are wrong: the file is UTF-8 and damaged."""
    text = raw.decode(UTF8, "replace")
    wrong = text.count("\ufffd")
    right = sum(map(text.count, {char for char in text if char > "\x7f"})) - wrong
    return right >= wrong


def _is_chinese(raw: bytes) -> bool:
    try:
        text = raw.decode("gb18030")
    except UnicodeDecodeError:
        return False
    foreign = len(_NOT_ASCII.findall(raw))
    common = 2 * len(_COMMON_GB.findall(raw))  # two bytes a character
    characters = [char for char in text if "一" <= char <= "鿿"]
    frequent = sum(char in _FREQUENT for char in characters)
    return common >= 0.9 * foreign and len(characters) >= 2 and frequent >= 0.3 * len(characters)


def _is_western(raw: bytes) -> bool:
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        return False
    foreign = [char for char in text if char > "\x7f"]
    known = _LETTERS + _CAPITALS
    if any(char not in known and char not in _SIGNS for char in foreign) or len(foreign) > 0.25 * len(text):
        return False
    if _MISREAD.search(text):
        return False
    words = {word for word in _WORD.findall(text) if any(char in known for char in word)}
    # a word without any ASCII letter is of another script, unless it is one of a letter
    return all(any(char.isascii() for char in word) or word in _ALONE for word in words)


def _guesses(raw: bytes) -> list[str]:
    """Encodings in which the bytes may be a text, for the user to choose from; the likeliest first."""
    from charset_normalizer import from_bytes  # here: it takes time to import

    names = (codecs.lookup(match.encoding).name for match in from_bytes(_sample(raw)[:100_000]))
    return [name for name in dict.fromkeys(names) if name in _KNOWN and not name.startswith("utf")][:_MAX_GUESSES]
