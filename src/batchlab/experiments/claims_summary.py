"""The short tables of claims in README.md and in the documentation: what is said, what came out, the effect."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- claims: written by scripts/claims.py -->", "<!-- end of claims -->"
README_CLAIMS = ("powers_of_two", "more_epochs", "fill_then_reduce")
"""Experiments whose claims README.md shows; docs/testing_claims.md shows all."""


def short_table(records: Sequence[Mapping[str, Any]], page: str, names: Collection[str] = ()) -> list[str]:
    """Return the lines of a Markdown table with one row for each claim.

    Args:
        records: of docs/results/claims.json; of each claim the first that decides is shown.
        page: relative address of docs/claims.md.
        names: experiments that are shown; none = all.
    """
    deciding = [record for record in records if record["decides"]]
    firsts = {record["claim"]: record for record in reversed(deciding)}
    rows = [
        f"| [{record['says']}]({page}#{record['experiment']}) | **{record['verdict_of_claim']}** "
        f"| {record['what']}: {record['shown']} |"
        for _, record in sorted(firsts.items())
        if not names or record["experiment"] in names
    ]
    return ["| what is said | what came out here | effect [95 %] |", "|---|---|---|", *rows]


def renew_tables(repository: Path, records: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write both tables anew between their marks and return the files.

    Args:
        repository: folder of README.md and docs/.
        records: of docs/results/claims.json.
    """
    readme, page = repository / "README.md", repository / "docs" / "testing_claims.md"
    _renew(readme, short_table(records, "docs/claims.md", README_CLAIMS))
    _renew(page, short_table(records, "claims.md"))
    return [readme, page]


def _renew(file: Path, lines: Sequence[str]) -> None:
    head, rest = file.read_text().split(BEGIN)
    _, tail = rest.split(END)
    file.write_text("\n".join([f"{head}{BEGIN}", *lines, f"{END}{tail}"]))
