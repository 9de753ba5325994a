# SPDX-License-Identifier: Apache-2.0
#
# `make` lists the targets. `make test` is all that a newcomer and CI need: it
# fetches what the tests want and runs every check.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN   := $(CURDIR)/.cache/bin
TOOLS := $(BIN)/golangci-lint $(BIN)/govulncheck
GO    ?= go
PKGS  ?= ./...

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Watch six models answer a stream of support tickets
	$(GO) run ./cmd/millrace demo

.PHONY: build
build: ## Build the millrace binary into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/millrace ./cmd/millrace

.PHONY: test
test: ## Run every check, as CI does (sets up what it needs)
	@scripts/check.sh

.PHONY: unit
unit: ## Run the tests of PKGS with the race detector
	$(GO) test -race $(PKGS)

.PHONY: lint
lint: $(TOOLS) ## Run gofmt, go vet and golangci-lint
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(BIN)/golangci-lint run

.PHONY: vuln
vuln: $(TOOLS) ## Look for known vulnerabilities, where their database can be reached
	@scripts/vuln.sh $(BIN)/govulncheck

.PHONY: crash
crash: ## Kill the program N times (1000) while messages flow, and audit every topic (BROKER=redis, kafka)
	MILLRACE_CRASH_KILLS=$${N:-1000} MILLRACE_CRASH_MESSAGES=$${MESSAGES:-1000000} MILLRACE_CRASH_NODES=$${NODES:-3} \
		$(GO) test ./internal/test/crash -run 'TestCrash$(CRASH_ON_$(BROKER))$$' -count=1 -v -timeout 0
CRASH_ON_redis := OnRedis
CRASH_ON_kafka := OnKafka

.PHONY: outage
outage: ## Take Redis and Kafka away for FOR (10m) under load; measure memory and how soon work resumes
	MILLRACE_OUTAGE=$${FOR:-10m} $(GO) test ./internal/test/crash -run TestOutage -parallel 4 -count=1 -v -timeout 0

.PHONY: kafka
kafka: ## Run the long form of the Kafka driver's tests
	scripts/fetch-kafka.sh
	MILLRACE_LONG=1 $(GO) test -timeout 0 -v ./broker/kafka

.PHONY: long
long: ## Run the long forms of the tests that have one
	MILLRACE_LONG=1 $(GO) test -race -timeout 0 $(PKGS)

.PHONY: torture
torture: ## Damage each file of a data directory at N (200) random places and in every other way
	MILLRACE_TORTURE=$${N:-200} $(GO) test ./broker/embedded -run TestTorture -count=1 -v -timeout 0

.PHONY: fuzz
fuzz: ## Fuzz everything that parses, TIME (30s) each
	@scripts/fuzz.sh $${TIME:-30s}

.PHONY: bench
bench: ## Measure Millrace against its limits (see docs/benchmarks.md)
	CGO_ENABLED=0 $(GO) run ./cmd/millrace bench

.PHONY: bench-brokers
bench-brokers: ## Compare the settle loop on Kafka and Redis with bare clients and Watermill, FOR (10s) each
	scripts/fetch-kafka.sh && scripts/fetch-redis.sh
	cd bench && $(GO) test -count=1 -v -timeout 0 -run Table . -for $${FOR:-10s}

.PHONY: eval
eval: ## Measure every built-in model (DATA: folder of public data sets; OUTPUT=json)
	@mkdir -p .cache
	@$(GO) run ./scripts/train-text -compose .cache/composed.jsonl
	@CGO_ENABLED=0 $(GO) run ./cmd/millrace eval all --also .cache/composed.jsonl --also-weight 0.3 \
		$(if $(DATA),--data $(DATA)) $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: generate
generate: ## Write the generated files anew (the schema and the page of pipeline files, the page of HTTP)
	$(GO) generate ./...

.PHONY: tools
tools: $(TOOLS) ## Build the tools that the checks use into .cache/bin

# The tools are pinned in a module of their own, so that no user of Millrace
# ever downloads them.
$(BIN)/golangci-lint: PKG := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(BIN)/govulncheck: PKG := golang.org/x/vuln/cmd/govulncheck
$(TOOLS): tools/go.mod tools/go.sum
	@mkdir -p $(BIN)
	@echo "building $(@F) (once)"
	@cd tools && CGO_ENABLED=0 $(GO) build -o $@ $(PKG)

.PHONY: clean
clean: ## Remove what was built and fetched
	rm -rf bin .cache
