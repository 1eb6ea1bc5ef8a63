import signal
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest

from batchlab.config.schema import REPOSITORY


@pytest.mark.slow
def test_both_pages_are_served_on_this_machine_only_and_end_with_the_script(tmp_path):
    ports = ["mlflow_port=5411", "optuna_port=8411"]
    command = [sys.executable, str(REPOSITORY / "scripts" / "ui.py"), f"mlruns={tmp_path / 'mlruns'}", *ports]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = [process.stdout.readline() for _ in range(3)]
    addresses = [line.rsplit(" ", 1)[-1].strip() for line in said[:2]]
    assert [line.split(":")[0] for line in said[:2]] == ["MLflow UI", "Optuna dashboard"]
    for address in addresses:
        assert address.startswith("http://127.0.0.1:")
        assert urlopen(address, timeout=20).status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    time.sleep(1)
    for address in addresses:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(address.rsplit(":", 1)[1]))) != 0
