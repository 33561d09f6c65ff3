"""The documentation site, without building it: its navigation, its API pages and the links of its pages."""

import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import rolesum

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE))

from build_site import CLI_PAGE, REPOSITORY, outside_code, site_text, sources  # noqa: E402


def test_the_navigation_names_every_page_exactly_once():
    named = Counter(_pages_of(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]))
    assert named == Counter([*sources().values(), "cli.md"])


def test_every_page_of_docs_is_a_page_of_the_site():
    assert {page.name for page in (ROOT / "docs").rglob("*.md")} <= {Path(name).name for name in sources().values()}


def test_the_api_pages_show_every_public_name_exactly_once():
    text = "".join(page.read_text(encoding="utf-8") for page in (SITE / "api").glob("*.md"))
    shown = re.findall(r"^::: rolesum\.(\w+)$", text, re.MULTILINE)
    errors = re.search(r"members: \[(.*)\]", text)
    assert errors and sorted(shown) == sorted({*rolesum.__all__, "errors"} - {"RolesumError", "__version__"})
    assert "RolesumError" in errors[1]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small repository: its home page, a page in docs, and a file that is no page."""
    monkeypatch.setattr("build_site.ROOT", tmp_path)
    for name, text in {"README.md": "# Home\n", "docs/page.md": "# A page\n", "src/code.py": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_links_lead_to_pages_of_the_site_or_to_the_repository(tree):
    pages = {tree / "README.md": "index.md", tree / "docs" / "page.md": "page.md"}
    broken: list[str] = []
    (tree / "README.md").write_text("[it](docs/page.md#a), [code](src/code.py), [folder](src)")
    (tree / "docs" / "page.md").write_text("[home](../README.md), [code](../src/code.py#L1), [out](https://a.b/c.md)")
    home, page = (site_text(source, pages, broken) for source in pages)
    assert home == f"[it](page.md#a), [code]({REPOSITORY}/blob/main/src/code.py), [folder]({REPOSITORY}/tree/main/src)"
    assert page == f"[home](index.md), [code]({REPOSITORY}/blob/main/src/code.py#L1), [out](https://a.b/c.md)"
    assert broken == []


def test_a_link_whose_text_is_a_path_gets_the_title_of_the_page(tree):
    pages = {tree / "README.md": "index.md", tree / "docs" / "page.md": "page.md"}
    (tree / "README.md").write_text("See [docs/page.md](docs/page.md).")
    assert site_text(tree / "README.md", pages, []) == "See [A page](page.md)."


def test_a_link_that_leads_nowhere_is_named_with_its_page(tree):
    (tree / "README.md").write_text("See [it](nowhere.md#here).")
    broken: list[str] = []
    site_text(tree / "README.md", {}, broken)
    assert broken == ["README.md: the link nowhere.md leads nowhere"]


def test_links_in_code_stay_and_a_fence_keeps_its_language_only():
    text = "[a](b)\n\n```python no-run\n[a](b)\n```\n\n[a](b)\n"
    assert outside_code(text, str.upper) == "[A](B)\n\n```python\n[a](b)\n```\n\n[A](B)\n"


def test_the_reference_of_the_command_line_is_printed_by_a_command_in_the_repository():
    assert Path(CLI_PAGE[1]).is_relative_to(ROOT) and Path(CLI_PAGE[1]).is_file()


def _pages_of(entry: object) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = list(entry.values()) if isinstance(entry, dict) else entry
    assert isinstance(parts, list)
    return [page for part in parts for page in _pages_of(part)]
