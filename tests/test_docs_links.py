"""Links between pages lead somewhere: to a file that exists, and to a heading in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for of in (".", "deploy", "freshflow/docs")
    for path in (ROOT / of).glob("**/*.md")
    if of != "." or path.parent == ROOT
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for link in LINK.findall(without_code((ROOT / page).read_text("utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        assert not anchor or anchor in anchors(target.read_text("utf-8")), f"{page} links to {link}"


def test_no_page_is_an_island() -> None:
    linked = {
        ((ROOT / page).parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall((ROOT / page).read_text("utf-8"))
        if "://" not in link
    }
    assert [
        page
        for page in PAGES
        if page.startswith("freshflow/docs/") and "decisions" not in page and (ROOT / page).resolve() not in linked
    ] == []
