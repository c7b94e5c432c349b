"""The site of the pages: it builds without a warning, has every page in its navigation and loads nothing remote."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import DOCS, PAGES, ROOT

SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
# Decision records are listed on a page of their own.
IN_NAVIGATION = {page.relative_to(DOCS).as_posix() for page in PAGES if not re.match(r"\d", page.name)}


def entries(navigation: list[Any]) -> Iterator[str]:
    for entry in navigation:
        (target,) = entry.values()
        yield from [target] if isinstance(target, str) else entries(target)


def test_navigation_has_every_page_once():
    assert sorted(entries(SITE["nav"])) == sorted(IN_NAVIGATION)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_site_loads_nothing_remote(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]+)"', page.read_text("utf-8"))
        assert loaded
        assert not [url for url in loaded if re.match(r"https?:|//", url)], page.name


def test_site_has_no_unrendered_markdown(site):
    for page in site.rglob("*.html"):
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", page.read_text("utf-8"), flags=re.DOTALL)
        for markup in (r"```", r"\n\|", r"\]\(", r"<p>[^<]*\n- ", r"\n- .*</p>"):
            assert not re.search(markup, text), f"{page.relative_to(site)}: {markup}"
