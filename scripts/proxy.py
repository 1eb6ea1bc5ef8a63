"""Stand between PostgreSQL and more workers than it has connections for: Optuna's gRPC proxy, until Ctrl-C.

python scripts/proxy.py storage=postgresql+psycopg://... [host=127.0.0.1] [port=13000] [threads=16] [mlruns=DIR]

Workers type hydra.sweeper.storage=grpc://host:port. The password is better kept in ~/.pgpass or PGPASSWORD than typed.
Whoever reaches the port may read and write every study: it asks for no password, and listens on this machine alone
unless host= says otherwise.
"""

import os
import signal
import sys
from types import FrameType

from batchlab.config.schema import REPOSITORY
from batchlab.system.environment_errors import masked

KEYS = ("storage", "host", "port", "threads", "mlruns")


def on_sigterm(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def main() -> int:
    typed = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    address = typed.get("storage", "")
    if not address.startswith("postgresql") or set(typed) - set(KEYS):
        print(__doc__, file=sys.stderr)
        return 2
    from batchlab.search.proxy import start_proxy

    signal.signal(signal.SIGTERM, on_sigterm)
    host, port = typed.get("host", "127.0.0.1"), int(typed.get("port", 13000))
    mlruns = typed.get("mlruns", os.environ.get("BATCHLAB_MLRUNS", str(REPOSITORY / "mlruns")))
    server = start_proxy(mlruns, address, host, port, int(typed.get("threads", 16)))
    print(f"grpc://{host}:{port} stands before {masked(address)}. Ctrl-C ends it.", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop(grace=5).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
