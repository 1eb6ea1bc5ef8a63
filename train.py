"""batchlab: train one configuration, compare several (-m batch_size=32,128,512), or search (search=joint)."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("train")
