# `make` prints the targets. The work is done by small scripts: tests/run and contrib/demo.sh.

.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION ?= $(shell contrib/packages/version)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
# mount(8) and umount(8) look for their helpers nowhere else.
HELPERDIR ?= /sbin
UNITDIR ?= $(PREFIX)/lib/systemd/system
DATADIR ?= $(PREFIX)/share
PAILFS ?= bin/pailfs
GO ?= go
SOAKTIME ?= 5m
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOSEC := github.com/securego/gosec/v2/cmd/gosec@v2.30.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Use
.PHONY: build install install-files uninstall demo
build: ## build bin/pailfs
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/pailfs ./cmd/pailfs

install: build ## install pailfs, the helpers of mount and umount, pailfs@.service, manual pages, completions; PREFIX=/usr/local, DESTDIR=
	@$(MAKE) -s install-files

# What is built already: a test installs another program than bin/pailfs.
install-files:
	install -D -m 0755 $(PAILFS) $(DESTDIR)$(BINDIR)/pailfs
	install -d $(DESTDIR)$(HELPERDIR)
	ln -sf $(BINDIR)/pailfs $(DESTDIR)$(HELPERDIR)/mount.pailfs
	ln -sf $(BINDIR)/pailfs $(DESTDIR)$(HELPERDIR)/mount.fuse.pailfs
	ln -sf $(BINDIR)/pailfs $(DESTDIR)$(HELPERDIR)/umount.pailfs
	ln -sf $(BINDIR)/pailfs $(DESTDIR)$(HELPERDIR)/umount.fuse.pailfs
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/local/bin/|$(BINDIR)/|' contrib/systemd/pailfs@.service >$(DESTDIR)$(UNITDIR)/pailfs@.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/pailfs@.service
	set -e; for page in $$($(PAILFS) docs man); do \
		install -D -m 0644 <($(PAILFS) docs man $$page) $(DESTDIR)$(DATADIR)/man/man$${page##*.}/$$page; \
	done
	install -D -m 0644 <($(PAILFS) completion bash) $(DESTDIR)$(DATADIR)/bash-completion/completions/pailfs
	install -D -m 0644 <($(PAILFS) completion zsh) $(DESTDIR)$(DATADIR)/zsh/site-functions/_pailfs
	install -D -m 0644 <($(PAILFS) completion fish) $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/pailfs.fish

uninstall: ## remove what install has installed
	rm -f $(DESTDIR)$(BINDIR)/pailfs $(addprefix $(DESTDIR)$(HELPERDIR)/,mount.pailfs mount.fuse.pailfs umount.pailfs umount.fuse.pailfs)
	rm -f $(DESTDIR)$(UNITDIR)/pailfs@.service
	rm -f $(addprefix $(DESTDIR)$(DATADIR)/man/,man1/pailfs.1 man5/pailfs-config.5)
	rm -f $(addprefix $(DESTDIR)$(DATADIR)/man/man8/,mount.pailfs.8 mount.fuse.pailfs.8 umount.pailfs.8 umount.fuse.pailfs.8)
	rm -f $(addprefix $(DESTDIR)$(DATADIR)/,bash-completion/completions/pailfs zsh/site-functions/_pailfs fish/vendor_completions.d/pailfs.fish)

demo: ## try it: an S3 store with sample buckets, mounted at ./demo
	@GO='$(GO)' contrib/demo.sh

##@ Test
.PHONY: test race fuzz security crash fault model soak test-system test-container bench bench-peers swift swift-up swift-down stores verify
test: ## all tests, with real mounts over a real S3 server (installs what is missing)
	@GO='$(GO)' tests/run test

race: ## all tests, with pailfs itself under the race detector
	@GO='$(GO)' tests/run race

crash: ## kill mounts 200 times at random moments: is anything lost? CRASHFLAGS='-kills 1000 -seed 7'
	@GO='$(GO)' tests/run crash $(CRASHFLAGS)

fault: ## every operation under every fault of network, store and disk, then random ones; FAULTFLAGS='-seed 7 -random 1h'
	@GO='$(GO)' tests/run fault $(FAULTFLAGS)

model: ## whole mounts in virtual time against a model: killed anywhere; two of them and a foreign client; MODELFLAGS='-two.seed 0 -crash.seed 0'
	@GO='$(GO)' tests/run model $(MODELFLAGS)

soak: ## all that people do at once on two mounts and a store with bad moments: anything wrong, left, growing? SOAKTIME=5m
	@GO='$(GO)' tests/run soak -time $(SOAKTIME) $(SOAKFLAGS)

bench: ## measure against a bare S3 client; RESULT=contrib/performance.txt appends there
	$(GO) run ./tests/bench $(if $(RESULT),--out $(RESULT)) $(BENCHFLAGS)

bench-peers: ## the same with s3fs and rclone beside it (installs them), written to docs/BENCHMARKS.md; PAGE=
	$(GO) run ./tests/bench --peers --page $(or $(PAGE),docs/BENCHMARKS.md) $(if $(RESULT),--out $(RESULT)) $(BENCHFLAGS)

fuzz: ## give each parser any input, FUZZTIME=10s each; FUZZ=PATTERN for some, FUZZKEEP=1 keeps what they find
	@GO='$(GO)' tests/run fuzz $(FUZZ)

security: ## hold the code to docs/threat-model.md: staticcheck, gosec, govulncheck, and tests on real mounts
	@GO='$(GO)' STATICCHECK='$(STATICCHECK)' GOSEC='$(GOSEC)' GOVULNCHECK='$(GOVULNCHECK)' tests/run security

test-container: ## run the image in podman: a sidecar, and one without privilege beside a mount-helper (root; Debian packages)
	@GO='$(GO)' tests/run container

test-system: test-container ## that, and boot a real systemd with mounts: fstab, automount, pailfs@, watchdog, reboot; install, upgrade and purge the packages
	@GO='$(GO)' tests/run system

swift: ## the suite and the mount tests on OpenStack Swift, started for it; TRIXIE=1 for the newer one
	@GO='$(GO)' tests/run swift $(if $(TRIXIE),--trixie)

swift-up: ## start OpenStack Swift and leave it running (tests/swift/README.md)
	@tests/swift/up $(if $(TRIXIE),--trixie)

swift-down: ## stop it
	@tests/swift/down $(if $(TRIXIE),--trixie)

stores: ## the suite and the mount tests on MinIO and both versions of Swift: hours
	@GO='$(GO)' tests/run stores

verify: ## the evidence in a quarter of an hour or two, a line for each: conformance, models, faults, kills, other people's tools, fuzzing
	@GO='$(GO)' tests/run verify

##@ Publish
.PHONY: packages release
packages: ## deb, rpm and tar.gz in dist/; ARCHES='amd64 arm64'
	@GO='$(GO)' NFPM='$(NFPM)' VERSION='$(VERSION)' COMMIT='$(COMMIT)' DATE='$(DATE)' contrib/packages/build

release: ## the packages of the commit, for both architectures; the same bytes wherever they are built
	@GO='$(GO)' NFPM='$(NFPM)' contrib/packages/release

##@ Develop
.PHONY: lint fmt clean store
lint: ## gofmt, go vet, staticcheck
	@GO='$(GO)' STATICCHECK='$(STATICCHECK)' tests/run lint

fmt: ## format the Go code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

store: ## build bin/demostore, the S3 server of the tests and the demo
	cd contrib/demostore && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/demostore .

clean: ## remove what was built
	rm -rf bin dist
