# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
#
# Everything a developer does. Needed: Linux, Go 1.26, Python 3.11 or newer. Every target fetches the rest for itself:
# Go modules, the pinned tools, an environment in .venv and, as root on Debian or Ubuntu, python3-venv, nodejs, chromium, torch.

SHELL    := /bin/bash
GO       ?= go
PYTHON   ?= python3
PREFIX   ?= /usr/local
FUZZTIME ?= 1m
BENCH    ?= .
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)

# The linter and the formatter are built from tools/go.mod, whatever this machine has installed.
tool    := $(GO) tool -modfile=$(CURDIR)/tools/go.mod
ldflags := -s -w $(if $(VERSION),-X main.version=$(VERSION))
VENV    := $(CURDIR)/.venv

# Tests against real servers skip where a server is missing; PREFORKD_TEST_ALL=1 makes that a failure, so that nothing
# is skipped in silence. Only Node, Chromium, promtool and redis, which come from the system, may be impossible to install: see
# hack/node.sh, hack/chromium.sh, hack/promtool.sh and hack/redis.sh.
test_env = PREFORKD_TEST_ALL=$$(command -v node >/dev/null && echo 1) PREFORKD_TEST_VENV=$(VENV) \
	PREFORKD_TEST_BIN=$(CURDIR)/bin/preforkd
e2e_env = $(test_env) PREFORKD_TEST_CHROMIUM=$$(command -v chromium >/dev/null && echo 1) PREFORKD_E2E_LONG=$(LONG)

.DELETE_ON_ERROR:
.PHONY: help build demo test race cover lint fmt fuzz bench e2e dist install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

build: ## build the static binary bin/preforkd
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(ldflags)' -o bin/preforkd ./cmd/preforkd

demo: build $(VENV)/.demo ## run the example on real data: one copy for four workers beside four copies
	@$(VENV)/bin/python examples/python/demo.py

# Without cgo: the processes that memory is counted in then map no libc, whose map counts move with every process of the host.
test: build $(VENV)/.test ## run the tests of every package, of the Python client too
	CGO_ENABLED=0 $(test_env) $(GO) test -shuffle=on ./...
	cd clients/python && $(test_env) $(VENV)/bin/python -m pytest -q -p no:cacheprovider
	@$(test_env) hack/torch.sh $(VENV)

race: build $(VENV)/.test ## the same under the race detector (needs a C compiler)
	@command -v $$($(GO) env CC) >/dev/null || \
		{ echo 'cannot race: the race detector needs cgo and a C compiler (gcc)' >&2; exit 1; }
	CGO_ENABLED=1 $(test_env) $(GO) test -race -shuffle=on ./...

cover: build $(VENV)/.test ## run the tests, write cover.out and print the total
	$(test_env) $(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	@$(GO) tool cover -func=cover.out | tail -1

lint: $(VENV)/.lint ## check formatting, go vet and golangci-lint (.golangci.yml); ruff and mypy for Python
	@files=$$($(tool) gofumpt -l .) && [ -z "$$files" ] || \
		{ printf 'not formatted, run make fmt:\n%s\n' "$$files" >&2; exit 1; }
	$(GO) vet ./...
	$(tool) golangci-lint run ./...
	@cd test && $(GO) vet ./... && $(tool) golangci-lint run ./...
	@hack/python-lint.sh $(VENV)

fmt: $(VENV)/.lint ## format the Go and the Python code
	$(tool) gofumpt -w .
	hack/python-lint.sh $(VENV) --fix

fuzz: ## run every fuzz target for FUZZTIME (1m each)
	GO=$(GO) hack/fuzz.sh $(FUZZTIME)

bench: build ## run the benchmarks that match BENCH (all)
	GO=$(GO) hack/bench.sh '$(BENCH)'

e2e: build $(VENV)/.test ## run the end-to-end suites in test/; LONG=1: loads of 60 s instead of 15 s
	@hack/chromium.sh
	@hack/promtool.sh $(VENV)/bin
	@hack/redis.sh $(VENV)/bin
	@hack/tools.sh
	@$(test_env) hack/torch.sh $(VENV) --install
	cd test && $(e2e_env) $(GO) test -count=1 -timeout 30m ./...

dist: ## build the wheel and the sdist of the Python client into dist/
	PYTHON=$(PYTHON) hack/dist.sh dist

install: build ## install into $(PREFIX)/bin
	install -D -m 755 bin/preforkd $(DESTDIR)$(PREFIX)/bin/preforkd

clean: ## delete what the other targets made, the example's data included
	rm -rf bin dist .venv cover.out examples/python/data

# One environment for the tests and the example; the stamps say which requirements are in it.
$(VENV)/.test: test/requirements.txt hack/venv.sh hack/node.sh
	@PYTHON=$(PYTHON) hack/venv.sh $(VENV) $< && hack/node.sh && touch $@

$(VENV)/.lint: tools/python.txt hack/venv.sh
	@PYTHON=$(PYTHON) hack/venv.sh $(VENV) $< && touch $@

$(VENV)/.demo: examples/python/requirements.txt hack/venv.sh
	@PYTHON=$(PYTHON) hack/venv.sh $(VENV) $< && touch $@
