"""Chromium for tests of live pages, which may talk to their own server only."""

import os
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def open_page(url, **options):
    """Yield a page of a live server. Errors, and requests to other addresses, fail the test."""
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        missing = "This page is tested in Chromium. Install it with `apt-get install chromium`."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        page = browser.new_page(bypass_csp=True, **options)  # for wait_for_function
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((url, "data:")) else problems.append(request.url)
            ),
        )
        page.goto(url)
        yield page
        browser.close()
    assert problems == []
