"""The browser that the tests of our pages open them in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from missing_service import give_up
from playwright.sync_api import Browser, sync_playwright

PROGRAM = shutil.which("chromium")
HOW_TO_GET = "Chromium is not installed; apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser without a window for the length of a block."""
    if PROGRAM is None:
        give_up(HOW_TO_GET)
    with sync_playwright() as playwright:
        # As root, and in containers with little shared memory, it does not start without these.
        words = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=words)
        yield browser
        browser.close()
