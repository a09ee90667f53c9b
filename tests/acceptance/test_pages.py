"""The pages as a person meets them, in a real browser: they are drawn, and calls can be tried on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import chromium
from playwright.sync_api import Browser, Page, expect
from running_service import ALICE, Service

from deployments.dialects import DIALECTS
from deployments.dialects.openapi import read_document

#: Milliseconds in which a busy machine has drawn a page.
PATIENCE_MS = 60_000
#: What a browser says of a request that it gave up itself: the page was left before its icon came.
LEFT = "net::ERR_ABORTED"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser without a window."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """Return an empty page; whatever it complains of, or asks of another host, fails the test."""
    context = browser.new_context(base_url=service.base_url)
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url) if request.failure != LEFT else None)
    page.on("request", lambda request: complaints.append(request.url) if service.base_url not in request.url else None)
    yield page
    context.close()
    assert [each for each in complaints if not each.startswith("data:")] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_operation_of_a_dialect_is_drawn(page: Page, dialect: str) -> None:
    """From the list of languages one link leads to each, where every operation of its document is to be seen."""
    operations = [operation for path in read_document(dialect)["paths"].values() for operation in path]

    page.goto("/docs")
    page.locator(f"a[href='/docs/{dialect}']").click()

    expect(page.locator(".opblock")).to_have_count(len(operations))


def test_a_call_can_be_tried(page: Page) -> None:
    """Who shows a key on the page is answered there as any client is."""
    page.goto("/docs/wavespeed")

    page.locator(".btn.authorize").click()
    page.locator(".auth-container input").fill(ALICE)
    page.locator(".auth-btn-wrapper .authorize").click()
    page.locator(".auth-btn-wrapper .btn-done").click()
    balance = page.locator(".opblock", has=page.locator("[data-path='/api/v3/balance']"))
    balance.locator(".opblock-summary").click()
    balance.locator(".try-out__btn").click()
    balance.locator(".execute").click()

    expect(balance.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
    expect(balance.locator(".live-responses-table")).to_contain_text("USD")


def test_fal_error_types_are_explained(page: Page) -> None:
    """The address in fal's errors leads to the words that explain that type."""
    page.goto("/errors#string_too_long")

    expect(page.locator("#string_too_long")).to_be_in_viewport()
