"""Build the documentation site: gather its pages under build/pages, and run Zensical over them strictly, into site/.

The pages are docs/*.md, README.md as the home page, benchmarks/README.md, the reference of the command line, which is
printed by a command, and the pages of docs/site/api, which mkdocstrings fills from the docstrings. Links of a page to
a file that is no page become links to the repository; the text of a link that is a page's path becomes its title.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "build" / "pages"
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
QUIET_LINES = ("Build started", "No issues found", "Build finished")  # a build without warnings prints no others
LINK = re.compile(r"\[(?P<label>[^\]]*)\]\((?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
CLI_PAGE = [sys.executable, str(ROOT / "tools" / "cli_reference.py")]  # prints Markdown


def sources() -> dict[Path, str]:
    """Return the files that are pages, each with its path on the site."""
    pages = {page: page.name for page in sorted((ROOT / "docs").glob("*.md"))}
    pages |= {page: f"api/{page.name}" for page in sorted((ROOT / "docs" / "site" / "api").glob("*.md"))}
    return {ROOT / "README.md": "index.md", ROOT / "benchmarks" / "README.md": "benchmarks.md"} | pages


def main() -> None:
    """Gather the pages and build the site; exit with 1 after any warning."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "img", PAGES / "img")
    shutil.copy(ROOT / "docs" / "site" / "site.css", PAGES)
    pages, broken = sources(), []
    for source, name in pages.items():
        text = site_text(source, pages, broken)
        (PAGES / name).parent.mkdir(exist_ok=True)
        (PAGES / name).write_text(text, encoding="utf-8")
    if broken:
        sys.exit("\n".join(broken))
    printed = subprocess.run(CLI_PAGE, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout
    (PAGES / "cli.md").write_text(printed, encoding="utf-8")
    build()


def site_text(source: Path, pages: dict[Path, str], broken: list[str]) -> str:
    """Return a page's text with links that work on the site; links that lead nowhere are added to `broken`."""

    def replace(match: re.Match[str]) -> str:
        label, path, anchor = match["label"], match["path"], match["anchor"] or ""
        target = (source.parent / path).resolve()
        if "://" in path or path.startswith("mailto:"):
            return match[0]
        if target in pages:
            return f"[{title(target) if label == path else label}]({pages[target]}{anchor})"
        if target.is_relative_to(ROOT / "docs" / "img") and target.is_file():
            return f"[{label}]({target.relative_to(ROOT / 'docs').as_posix()})"
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(f"{source.relative_to(ROOT)}: the link {path} leads nowhere")
            return match[0]
        kind = "tree" if target.is_dir() else "blob"
        return f"[{label}]({REPOSITORY}/{kind}/main/{target.relative_to(ROOT).as_posix()}{anchor})"

    text = source.read_text(encoding="utf-8")
    if source.parent.name == "api":
        return text  # written for the site, whose strict build checks its links
    return outside_code(text, lambda prose: LINK.sub(replace, prose))


def title(page: Path) -> str:
    """Return the first heading of a page."""
    heading = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return heading[1] if heading else page.stem


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return the text with all but its fenced code changed. Of a fence's first line only the language is kept."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    code = [re.sub(r"\A```(\w*).*", r"```\1", part) for part in parts[1::2]]
    prose = [change(part) for part in parts[0::2]]
    return "".join(part for pair in zip(prose, [*code, ""], strict=True) for part in pair)


def build() -> None:
    """Run Zensical strictly. It does not count what mkdocstrings and griffe warn of: any line but its own fails too."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode or any(line and not line.startswith(QUIET_LINES) for line in done.stdout.splitlines()):
        sys.exit("The site has errors or warnings: see above.")


if __name__ == "__main__":
    main()
