# One word for each thing a person wants to do here; `make help` lists them.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=

# Everything is built for a named target, so that build scripts stay dynamic while rill itself is static
# (.cargo/config.toml), and clippy, tests, documentation and program share one tree. It is found out when it is first
# needed. Another one on the same machine: `make TARGET=x86_64-unknown-linux-gnu`.
TARGET   = $(eval TARGET := $(shell .cargo/target))$(TARGET)
BUILD    = --locked --target $(TARGET)
RILL     = target/$(TARGET)/release/rill
PYTHON  ?= /usr/bin/python3

export CARGO_TARGET_DIR = target

.PHONY: all build test check fmt lint docs demo interop bench fuzz simulate install uninstall clean help tools python

all: build

build: tools ## build the program: one static executable (this is what plain `make` does)
	@$(CARGO) build $(BUILD) --release
	@echo "built $(RILL), $$(($$(wc -c <$(RILL)) / 1024)) KiB"

test: tools ## run the tests: loopback only, about two minutes on two cores
	@$(CARGO) test $(BUILD) $(TESTARGS)

check: fmt lint test docs ## the one word before a commit: format, clippy, tests with the house rules, docs
	@echo "check: all well"

fmt: tools
	@$(CARGO) fmt --version >/dev/null 2>&1 || \
	  { echo "rustfmt is missing: rustup component add rustfmt"; exit 1; }
	@$(CARGO) fmt --check || { echo "not in our format: run cargo fmt"; exit 1; }

lint: tools
	@$(CARGO) clippy --version >/dev/null 2>&1 || \
	  { echo "clippy is missing: rustup component add clippy"; exit 1; }
	@$(CARGO) clippy $(BUILD) --all-targets -- -D warnings

docs: tools
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(BUILD) --no-deps --lib

demo: build ## download a bundled torrent over loopback and see it happen
	@RILL=$(RILL) tests/demo/run

interop: build python ## trade with other clients: transmission, aria2, libtorrent, rtorrent, qbittorrent
	@RILL=$(RILL) $(PYTHON) tests/interop/run.py $(INTEROP)

bench: build python ## measure beside other clients; MODES=fast,check ROUNDS=3 SIZE=1024 FOLDER=/dev/shm/bench choose
	@RILL=$(RILL) BENCH_FOLDER=$(FOLDER) $(PYTHON) tests/bench/run.py $(if $(MODES),--modes $(MODES)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(SIZE),--size $(SIZE)) $(BENCH)

fuzz: tools ## feed the parsers what nobody would send; TIME=60 seconds for each
	@tests/fuzz/run $(or $(TIME),60)

simulate: tools ## look for peers in simulated DHTs of 100 to 10,000 nodes; print found and queries a look-up
	@$(CARGO) test $(BUILD) --release --lib -- ten_thousand_nodes --ignored --nocapture

install: build ## copy the program to $(DESTDIR)$(PREFIX)/bin
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 "$(RILL)" "$(DESTDIR)$(PREFIX)/bin/rill"

uninstall: ## take it away again
	rm -f "$(DESTDIR)$(PREFIX)/bin/rill"

clean: ## remove what was built
	@rm -rf target

help: ## this list
	@echo "make WORD, where WORD is one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1 \2/p' Makefile | \
	  while read -r word text; do printf '  %-10s %s\n' "$$word" "$$text"; done

# What is missing is said in a sentence before anything fails in twenty.
tools:
	@command -v $(CARGO) >/dev/null && command -v rustc >/dev/null || { \
	  echo "rill is written in Rust, and cargo isn't here: install Rust 1.89 or later from https://rustup.rs"; \
	  exit 1; }
	@command -v cc >/dev/null || { \
	  echo "a C compiler is missing (it links the program and builds the TLS library's C parts):" \
	       "on Debian: apt-get install build-essential"; \
	  exit 1; }

python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) is missing (it drives the other clients): on Debian: apt-get install python3"; \
	  exit 1; }
