import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from rolesum.formats import FORMATS
from rolesum.recipe import explain_keys
from rolesum.recipe_loading import parse_recipe
from rolesum.roles import AGENT, ALIASES, USER

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_recipe_page_says_every_key_its_default_and_its_meaning():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for key, default, meaning in explain_keys():
        # What data.mix[], validation and test share with data.train is said once, there.
        shared = re.sub(r"^data\.(mix\[\]|validation|test)\.", "data.train.", key)
        rows = {f"| `{key}` | {default} | {meaning} |", f"| `{shared}` | {default.partition(',')[0]} | {meaning} |"}
        assert any(row in page for row in rows), key


def test_the_recipe_page_names_every_recipe():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert all(f"`{recipe.stem}`" in page for recipe in (ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("role", [USER, AGENT])
def test_the_roles_page_lists_the_labels_that_name_a_role(role):
    page = (ROOT / "docs" / "roles-and-sections.md").read_text(encoding="utf-8")
    (listed,) = re.findall(rf"^- `{role}`: (.*(?:\n  .*)*)", page, re.MULTILINE)
    labels = [label for label in ALIASES[role] if not label.endswith("摘要")]  # a summary's name is no speaker's
    assert re.split(r"[,;]\s+", listed) == labels


def test_the_installation_table_names_every_extra():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(project["optional-dependencies"])


def test_the_recipe_page_shows_a_recipe_and_every_sample():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert parse_recipe(yaml.safe_load(shown), "docs/recipes.md").name == "support"
    for sample in (ROOT / "src" / "rolesum" / "samples").glob("*.jsonl"):
        assert f"`{sample.stem}`" in page or f"`{sample.stem.replace('-zh-', '-en-')}`" in page


def test_the_format_page_names_every_format():
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in FORMATS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_sections_name_a_heading(page):
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    missing = [
        f"{path}#{anchor}" for path, anchor in links if anchor not in _anchors(page.parent / path if path else page)
    ]
    assert not missing


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|yaml|js|json))`", page.read_text(encoding="utf-8"))
    folders = [ROOT / folder for folder in (".", "src/rolesum", "src/rolesum/server", "tests")]
    assert [name for name in named if not any((folder / name).is_file() for folder in folders)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imports_that_a_page_shows_work(page):
    for line in re.findall(r"^from rolesum[\w.]* import [\w, ]+$", page.read_text(encoding="utf-8"), re.MULTILINE):
        exec(line, {})


def test_the_results_pages_tables_and_plots_are_those_of_the_committed_json():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "page.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_architecture_page_names_tests_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)`", page)
    assert len(named) > 20
    missing = [name for name in named if not (ROOT / "tests" / name.removeprefix("tests/")).is_file()]
    assert missing == []
