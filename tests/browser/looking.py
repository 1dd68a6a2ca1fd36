"""What browser tests share: what a page complains of, whether it fits, pictures on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

#: A desk, a tablet held upright, a phone.
WIDTHS = (1280, 768, 375)
#: The README's own pictures, which are taken anew with XTIGER_PICTURES=1.
README_PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """What the console and the pages complain of."""
    said: list[str] = []
    yield said
    assert said == []


def watched(page: Page, said: list[str]) -> Page:
    """A page whose complaints are heard."""
    # What a form's faults look like to the browser: the page itself says them.
    page.on("console", lambda one: None if "422" in one.text else said.append(one.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return page


def too_wide(page: Page) -> list[str]:
    """What sticks out to the side: the page itself, or a list in its box."""
    found: list[str] = page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll('.scroll, .tabs, main')]
            .filter(one => one.scrollWidth > Math.max(one.clientWidth, 1) + 1)
            .map(one => `${one.tagName}.${one.className}: ${one.scrollWidth} > ${one.clientWidth}`)
        """
    )
    return found


def fits(page: Page, name: str) -> None:
    """At each width, light and dark, nothing sticks out; `name` is what it is called if it does."""
    for scheme in ("light", "dark"):
        # Without motion, so that no picture shows a colour on its way.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert too_wide(page) == [], f"{name} at {width}"
            look(page, f"{name}-{width}-{scheme}")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def look(page: Page, name: str) -> None:
    """A picture of the whole page, where XTIGER_LOOK names a folder: nobody else waits for it."""
    if folder := os.environ.get("XTIGER_LOOK"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def for_readme(page: Page, name: str, *, whole: bool = False) -> None:
    """A picture of what the window shows, or the whole page, for the README and the docs."""
    if os.environ.get("XTIGER_PICTURES"):
        page.screenshot(path=README_PICTURES / f"{name}.png", full_page=whole)
