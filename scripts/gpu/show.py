"""Print the results of a GPU day as short tables, failures first."""

import json
import sys
from pathlib import Path

rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
options = [row for row in rows if "group" in row]
failed = [row for row in options if row["outcome"] == "FAILED" or row.get("missing")]
print(f"options: {len(options)} tried, {len(failed)} failed or lack a measure")
for row in failed:
    print("  ", row["group"], row["name"], row.get("cause") or row.get("missing"))
for row in options:
    if row["group"] == "numbers" or row["name"] == "dynamo frames":
        print(
            "  ",
            row["name"],
            row["outcome"],
            {key: f"{value:.2g}" for key, value in row.items() if isinstance(value, float)},
        )
for row in rows:
    if "variant" in row:
        print(
            f"   {row['what']:34s} {row['variant']:62s}",
            f"{row['us']:9.1f} us, host {row['host_us']:9.1f}" if "us" in row else row["failed"],
        )
    elif "loop" in row or "eager" in row:
        print("  ", row)
    elif "group" not in row:
        print("  ", {key: value for key, value in row.items() if key != "tested"})
