"""What browser tests share: pictures of a page at each width and in both appearances."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

#: A desk, a tablet held upright, a phone.
WIDTHS = (1280, 768, 375)


def too_wide(page: Page) -> list[str]:
    """What sticks out to the side: the page itself, or a list in its box."""
    found: list[str] = page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll('.scroll, .tabs, main')]
            .filter(one => one.scrollWidth > Math.max(one.clientWidth, 1) + 1)
            .map(one => `${one.tagName}.${one.className}: ${one.scrollWidth} > ${one.clientWidth}`)
        """
    )
    return found


def pictures_of(page: Page, folder: Path, name: str) -> None:
    """The page at each width, light and dark; nothing may stick out."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert too_wide(page) == [], f"{name} at {width}"
            page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    page.reload()
