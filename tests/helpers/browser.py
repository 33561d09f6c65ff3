"""A headless Chromium for tests of pages: `from browser import browser  # noqa: F401` makes it a fixture."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Playwright browser: `browser.new_page(viewport=…, color_scheme="dark")`. Skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser test: pip install playwright")
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("no browser test: no Chromium on the PATH")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()
