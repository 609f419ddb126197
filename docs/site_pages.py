"""A hook of mkdocs: README.md is the site's first page, and the methods have their entries."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from etude.catalogue import CARDS

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {"CONTRIBUTING.md": "design.md", "LICENSE": "https://www.apache.org/licenses/LICENSE-2.0"}


def on_config(config: Any) -> Any:
    """Fill the entry Methods of the navigation with the pages that are there, in the catalogue's order."""
    pages = [f"methods/{card.name}.md" for card in CARDS.values()]
    there = [{Path(page).stem: page} for page in pages if (ROOT / "docs" / page).exists()]
    config.nav = [{"Methods": there} if "Methods" in entry else entry for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add README.md as index.md, its links seen from `docs`."""
    text = re.sub(r"\]\(docs/", "](", (ROOT / "README.md").read_text(encoding="utf-8"))
    for name, target in ELSEWHERE.items():
        text = text.replace(f"]({name})", f"]({target})")
    files.append(File.generated(config, "index.md", content=text))
    return files
