"""Write Markdown of the documentation: tables, and links of a page that moves into docs/."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def with_links_from_docs(text: str) -> str:
    """Return a page of the repository's root as one of docs/: links into docs/ stay links, others become text."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)", lambda m: m[0] if is_page(m[2]) else m[1], text)


def is_page(link: str) -> bool:
    """Return whether a link from the root of docs/ leads to a file there."""
    return (DOCS / link.partition("#")[0]).exists()
