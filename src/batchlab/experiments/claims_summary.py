"""The claims in short, as the README shows them: what is said, what came out, the effect."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- claims: written by scripts/claims.py -->", "<!-- end of claims -->"


def short_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a Markdown table with one row for each claim.

    Args:
        records: of docs/results/claims.json; of each claim the first that decides is shown.
    """
    deciding = [record for record in records if record["decides"]]
    firsts = {record["claim"]: record for record in reversed(deciding)}
    rows = [
        f"| [{record['says']}](docs/claims.md#{record['experiment']}) | **{record['verdict_of_claim']}** "
        f"| {record['what']}: {record['shown']} |"
        for _, record in sorted(firsts.items())
    ]
    return ["| what is said | what came out here | effect [95 %] |", "|---|---|---|", *rows]


def renew(readme: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the table anew between its two marks."""
    head, rest = readme.read_text().split(BEGIN)
    _, tail = rest.split(END)
    readme.write_text("\n".join([f"{head}{BEGIN}", *short_table(records), f"{END}{tail}"]))
