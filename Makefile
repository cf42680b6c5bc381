# The two commands of the README are `make run` and `make test`; `make` alone lists them all.
PYTHON ?= python3
VENV := .venv
SSLYZE_VENV := .venv-sslyze
SSLYZE := $(SSLYZE_VENV)/bin/sslyze
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: help run test tools torture check benchmark clean

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: $(VENV)/installed-run ## start the server in the foreground, ws on 5050 and wss on 8443; ARGS="..." adds options
	$(VENV)/bin/twistd -n --pidfile= rtoc --port 5050 --tls-port 8443 --state-dir var/state $(ARGS)

test: tools $(VENV)/installed-test $(SSLYZE) ## run all tests; TESTS="tests.test_x ..." runs some
	@SSLYZE=$(CURDIR)/$(SSLYZE) $(VENV)/bin/python scripts/run_tests.py $(TESTS)

tools:
	@PYTHON=$(PYTHON) scripts/debian_packages.sh ensurepip systemd-analyze chromium

torture: $(VENV)/installed-test ## kill the recorder 500 times in the middle of its work, twice; ROUNDS=50 is shorter
	ROUNDS=$(or $(ROUNDS),500) $(VENV)/bin/python -m twisted.trial tests.test_kill

check: $(VENV)/installed-dev ## lint, format, types and import arrows
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m twisted.trial tests.test_arrows

benchmark: $(VENV)/installed-test ## compare with a bare Autobahn server, both in one run
	$(VENV)/bin/python -m benchmarks

clean: ## remove everything made here but var/, the recordings of `make run`
	rm -rf $(VENV) $(SSLYZE_VENV) dist _trial_temp* .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The installation is editable, so only a change of pyproject.toml asks for a new one.
$(VENV)/installed-run: WHAT := .
$(VENV)/installed-test: WHAT := .[test]
$(VENV)/installed-dev: WHAT := .[dev]
$(VENV)/installed-%: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP) --editable '$(WHAT)'
	@touch $@

# sslyze wants an older cryptography than pyOpenSSL does, so it lives by itself.
$(SSLYZE): | $(VENV)/bin/python
	$(PYTHON) -m venv $(SSLYZE_VENV)
	$(SSLYZE_VENV)/bin/python $(PIP) 'sslyze>=6.1'
	@touch $@

$(VENV)/bin/python:
	@PYTHON=$(PYTHON) scripts/debian_packages.sh ensurepip
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
