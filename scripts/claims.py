"""Every published claim about batch size: run or re-read, one verdict each. See --help."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("claims")
