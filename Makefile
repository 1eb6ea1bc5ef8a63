# Needs python3 and make. Everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
RUN = .venv/bin/python
QUICK = tests/config/test_traits.py tests/laws tests/optim/test_rules.py tests/tasks tests/data/test_expression.py tests/data/test_stream.py \
	tests/models/test_losses.py tests/training/test_grad_norm_accumulator.py tests/training/test_loop.py \
	tests/training/test_plan.py tests/validation/test_launch_rules.py tests/validation/test_rules.py
READY = .venv/.ready

.PHONY: help demo test quick coverage hooks proofs long fuzz check chaos docs ui lock clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip sync --quiet --compile-bytecode requirements.lock --python $(RUN)
	.venv/bin/uv pip install --quiet --no-deps --editable . --python $(RUN)
	touch $(READY)

demo: $(READY)  ## set up, then compare three batch sizes on data that needs no download
	$(RUN) train.py -m batch_size=32,128,512 num_seeds=3 num_threads=1

quick: $(READY)  ## unit tests of what is changed most, in a minute
	$(RUN) -m pytest -q -n 2 -k "not cover_the_truth and not covers_the_truth" $(QUICK)

test: $(READY)  ## the tests, without the slow proofs, on two cores
	$(RUN) -m pytest -n 2

coverage: $(READY)  ## the tests, and which lines they ran, child processes included; htmlcov/index.html
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest -n 2
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage html --quiet
	$(RUN) -m coverage report --skip-covered

proofs: $(READY)  ## the slow proofs
	$(RUN) -m pytest -m "slow and not long" -n 3 --dist worksteal

long: $(READY)  ## the longest proofs, which CI leaves out
	$(RUN) -m pytest -m long -n 2

fuzz: $(READY)  ## 2,000 random command lines, others each time
	BATCHLAB_FUZZ_EXAMPLES=2000 $(RUN) -m pytest -q -n 2 tests/test_fuzz.py

check: $(READY)  ## ruff and pyright
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright

chaos: $(READY)  ## a study whose workers, supervisor and PostgreSQL are killed and restarted; ends as if nothing was
	$(RUN) scripts/bench/chaos.py

docs: $(READY)  ## the documentation as a site, site/index.html; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict
	@echo 'site/index.html opens from a disk; with its search: $(RUN) -m http.server -b 127.0.0.1 -d site'

hooks: $(READY)  ## have git run ruff and pyright before a commit, make quick before a push
	.venv/bin/pre-commit install --hook-type pre-commit --hook-type pre-push

ui: $(READY)  ## MLflow UI and Optuna dashboard on 127.0.0.1
	$(RUN) scripts/ui.py

lock: $(READY)  ## write requirements.lock anew
	.venv/bin/uv pip compile pyproject.toml --all-extras --universal --upgrade -o requirements.lock

clean:  ## remove the environment and caches; results in mlruns/ stay
	rm -rf .venv .pytest_cache .ruff_cache .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
