#!/usr/bin/env bash
# Puts the wheels that the GPU machine lacks into .whl of a clone, and prints how large both are together.
#   bash scripts/gpu/prepare.sh      then copy the clone, .whl included, to the GPU machine
# Versions are those of requirements.lock; --no-deps, so that torch, numpy, ... there stay as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
MISSING="hydra-core omegaconf antlr4-python3-runtime
 optuna alembic sqlalchemy mako colorlog optuna-dashboard bottle
 mlflow mlflow-skinny mlflow-tracing databricks-sdk google-auth pyasn1 pyasn1-modules cachetools cryptography cffi pycparser
 opentelemetry-api opentelemetry-sdk opentelemetry-proto opentelemetry-semantic-conventions importlib-metadata
 fastapi starlette uvicorn typing-inspection gitpython gitdb smmap sqlparse python-dotenv pydantic pydantic-core annotated-types
 typing-extensions anyio protobuf
 plotly pytorch-optimizer curvlinops-for-pytorch backpack-for-pytorch einconv unfoldnd"
rm -rf .whl && mkdir .whl
wanted=()
for name in $MISSING; do  # the version of the lock, the one of Python 3.12 where it has several
    line=$(grep -iE "^$name==" requirements.lock | grep -vE "python_full_version < '3.12'" | head -1 | sed 's/ *;.*//')
    [ -n "$line" ] || { echo "not in requirements.lock: $name" >&2; exit 1; }
    wanted+=("$line")
done
source=()  # antlr4 4.9.3 is a source archive on PyPI: built here, it is pure Python
for each in "${wanted[@]}"; do case $each in antlr4*) source+=("$each") ;; esac; done
binary=(); for each in "${wanted[@]}"; do case $each in antlr4*) ;; *) binary+=("$each") ;; esac; done
platforms=(); for n in 2_39 2_35 2_34 2_31 2_28 2_27 2_26 2_24 2_17 2_12 2_5; do platforms+=(--platform "manylinux_${n}_x86_64"); done
"$PYTHON" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d .whl "${binary[@]}"
"$PYTHON" -m pip wheel -q --disable-pip-version-check --no-deps -w .whl "${source[@]}"
tree=$(git ls-files -z --cached --others --exclude-standard | xargs -0 stat -c %s | awk '{s += $1} END {print s}')
wheels=$(find .whl -type f -print0 | xargs -0 cat | wc -c)
awk -v t="$tree" -v w="$wheels" -v n="$(ls .whl/*.whl | wc -l)" 'BEGIN {
    printf "%d wheels %.1f MiB + working tree %.1f MiB = %.1f MiB of 64\n", n, w/2^20, t/2^20, (w+t)/2^20
    exit (w + t > 64 * 2^20) }'
