"""Add the pages that are read off the code: keys, metrics, modules, contributing, changelog (a hook of mkdocs)."""

import ast
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.append(
    str(Path(__file__).resolve().parents[1])
)  # neither `mkdocs build` nor `python scripts/docs_reference.py` looks there

from scripts.docs_keys import keys_page
from scripts.docs_markdown import table, with_links_from_docs
from scripts.docs_metrics import metrics_page

REPOSITORY = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to those of docs/ (called by mkdocs)."""
    for path, text in pages().items():
        if (earlier := files.get_file_from_path(path)) is not None:
            files.remove(earlier)
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Return the generated pages: path in docs/ -> Markdown."""
    found = {f"reference/{name}.md": page() for name, page in REFERENCE.items()}
    for path, source in {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}.items():
        if (file := REPOSITORY / source).exists():
            found[path] = with_links_from_docs(file.read_text())
    return found


def modules_page() -> str:
    """Return the list of modules: package by package, with the first line of each docstring."""
    parts = ["# Modules", "Every module of `src/batchlab` by package, with the first line of its docstring."]
    source = REPOSITORY / "src" / "batchlab"
    for folder in sorted(path.parent for path in source.rglob("__init__.py")):
        name = ".".join(folder.relative_to(source.parent).parts)
        about, *lines = [
            (path.stem, first_line(path))
            for path in sorted(folder.glob("*.py"), key=lambda path: path.stem != "__init__")
        ]
        parts += [f"## {name}", about[1]]
        parts += [table(("module", "what it has"), [(f"`{stem}`", line) for stem, line in lines])] if lines else []
    return "\n\n".join(parts) + "\n"


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


REFERENCE = {"keys": keys_page, "metrics": metrics_page, "modules": modules_page}


if __name__ == "__main__":
    for name, page in pages().items():
        print(f"<!-- {name} -->\n{page}")
