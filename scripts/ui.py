"""MLflow UI and Optuna dashboard on 127.0.0.1, pointed at the stores of this repository. See --help."""

from batchlab.commands.main import run_command

if __name__ == "__main__":
    run_command("ui")
