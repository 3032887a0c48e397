from __future__ import annotations

import shutil

import pytest

BROWSERS = ("chromium", "google-chrome", "chromium-browser")


@pytest.fixture(scope="session")
def browser():
    """A Chromium without a window; tests that need one skip, saying so, where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("needs a browser: Chromium is not installed (apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as driver:
        # without a sandbox: it needs rights that containers do not give
        arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
        opened = driver.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()
