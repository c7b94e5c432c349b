"""The pages are a site: all in the navigation, built without a warning, complete without the net; their blocks run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import DOCS, PAGES, ROOT, RUNNABLE, blocks

SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
# Decision records are on a page of their own.
IN_NAVIGATION = {str(page.relative_to(DOCS)) for page in PAGES if not re.match(r"\d", page.name)}
TESTS = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))


def entries(navigation: list[Any]) -> Iterator[str]:
    for entry in navigation:
        (target,) = entry.values()
        yield from [target] if isinstance(target, str) else entries(target)


def test_every_page_is_in_the_navigation_once_and_nothing_else():
    assert sorted(entries(SITE["nav"])) == sorted(IN_NAVIGATION)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_a_page_with_something_to_copy_has_a_test_that_runs_it(page):
    if blocks(page, *RUNNABLE):
        assert re.search(rf'["/]{re.escape(page.name)}"', TESTS), f"no test reads {page.name}"


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *PAGES, *ROOT.glob("deploy/*.md")], ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_page_of_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]+)"', page.read_text("utf-8"))
        assert loaded
        assert not [place for place in loaded if re.match(r"https?:|//", place)], page.name


def test_no_markdown_is_left_in_the_pages_of_the_site(site):
    for page in site.rglob("*.html"):
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", page.read_text("utf-8"), flags=re.DOTALL)
        for left in (r"```", r"\n\|", r"\]\(", r"<p>[^<]*\n- ", r"\n- .*</p>"):
            assert not re.search(left, text), f"{page.relative_to(site)}: {left}"
