"""Links between pages lead to an existing file and heading, and every page is linked."""

import re

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT

ALL_PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "deploy").rglob("*.md")), *PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_a_file_and_a_heading(page):
    for link in LINK.findall(without_code(page.read_text("utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


def test_every_page_is_linked():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in ALL_PAGES
        for link in LINK.findall(page.read_text("utf-8"))
        if "://" not in link
    }
    assert not [page for page in PAGES if page.parent != DOCS / "decisions" and page.resolve() not in linked]
