# `make` prints the targets. The work is done by small scripts: tests/run and contrib/demo.sh.

.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo devel)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
# mount(8) looks for its helpers nowhere else.
HELPERDIR ?= /sbin
GO ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Use
.PHONY: build install uninstall demo
build: ## build bin/pailfs
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/pailfs ./cmd/pailfs

install: build ## install pailfs and mount.pailfs; PREFIX=/usr/local, DESTDIR=
	install -D -m 0755 bin/pailfs $(DESTDIR)$(BINDIR)/pailfs
	install -d $(DESTDIR)$(HELPERDIR)
	ln -sf $(BINDIR)/pailfs $(DESTDIR)$(HELPERDIR)/mount.pailfs
	ln -sf $(BINDIR)/pailfs $(DESTDIR)$(HELPERDIR)/mount.fuse.pailfs

uninstall: ## remove what install has installed
	rm -f $(DESTDIR)$(BINDIR)/pailfs $(DESTDIR)$(HELPERDIR)/mount.pailfs $(DESTDIR)$(HELPERDIR)/mount.fuse.pailfs

demo: ## try it: an S3 store with sample buckets, mounted at ./demo
	@GO='$(GO)' contrib/demo.sh

##@ Test
.PHONY: test race crash bench bench-peers swift swift-up swift-down verify
test: ## all tests, with real mounts over a real S3 server (installs what is missing)
	@GO='$(GO)' tests/run test

race: ## all tests, with pailfs itself under the race detector
	@GO='$(GO)' tests/run race

crash: ## kill mounts 200 times at random moments: is anything lost? CRASHFLAGS='-kills 1000 -seed 7'
	@GO='$(GO)' tests/run crash $(CRASHFLAGS)

bench: ## measure against a bare S3 client; RESULT=contrib/performance.txt appends there
	$(GO) run ./tests/bench $(if $(RESULT),--out $(RESULT)) $(BENCHFLAGS)

bench-peers: ## the same with s3fs and rclone beside it (installs them)
	$(GO) run ./tests/bench --peers $(if $(RESULT),--out $(RESULT)) $(BENCHFLAGS)

swift: ## the suite and the mount tests on OpenStack Swift, started for it; TRIXIE=1 for the newer one
	@GO='$(GO)' tests/run swift $(if $(TRIXIE),--trixie)

swift-up: ## start OpenStack Swift and leave it running (tests/swift/README.md)
	@tests/swift/up $(if $(TRIXIE),--trixie)

swift-down: ## stop it
	@tests/swift/down $(if $(TRIXIE),--trixie)

verify: ## the suite and the mount tests on MinIO and both versions of Swift
	@GO='$(GO)' tests/run verify

##@ Develop
.PHONY: lint fmt clean store
lint: ## gofmt, go vet, staticcheck
	@GO='$(GO)' STATICCHECK='$(STATICCHECK)' tests/run lint

fmt: ## format the Go code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

store: ## build bin/demostore, the S3 server of the tests and the demo
	cd contrib/demostore && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/demostore .

clean: ## remove what was built
	rm -rf bin
