"""Every published claim about batch size: run or re-read, one verdict each. See --help."""

import sys

from batchlab.commands.claims.claims_keys import Claims
from batchlab.system.signals import note_signals

if __name__ == "__main__":
    note_signals()
    from batchlab.commands.command_line import run_script  # a second, in which a signal is only noted

    names = [word for word in sys.argv[1:] if "=" not in word and not word.startswith("-") and word != "job"]
    rest = [word for word in sys.argv[1:] if word not in names]
    sys.argv[1:] = [*rest, f"names=[{','.join(names)}]"] if names else rest
    run_script("claims", Claims)
