"""`python -m tests.docs` (`make docs-reference`): write the generated tables of the pages, and the schemas."""

import sys

from tests.docs.pages import ROOT
from tests.docs.reference import generated

if __name__ == "__main__":
    for path, text in generated():
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
