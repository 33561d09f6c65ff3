import ast
import json
import math
from pathlib import Path

from rolesum import strict_json

PACKAGE = Path(strict_json.__file__).parent

# The text goes to a library in the same process, not to a file, or is a measure only of what was parsed.
OTHERS = {
    "strict_json.py",
    "demo.py",  # ids and numbers that are counted
    "formats/source.py",
    "generation/summarizer.py",  # rounded statistics of texts
    "models/architectures/sentencepiece.py",
    "models/gguf_import.py",
}


def test_nan_and_infinities_are_written_as_null():
    value = {"a": math.nan, "b": [math.inf, (-math.inf, 1.5)], "c": "NaN"}
    assert json.loads(strict_json.dumps(value)) == {"a": None, "b": [None, [None, 1.5]], "c": "NaN"}
    assert strict_json.dumps({"ä": 1}, ensure_ascii=False) == '{"ä": 1}'


def test_the_package_writes_json_without_nan_everywhere():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump"):
                found[path.relative_to(PACKAGE).as_posix()] = node.lineno
    assert found.keys() <= OTHERS
