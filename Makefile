# make demo   the tour          make test   the specs        make bench  the figures
# make build  the modules       make asan valgrind tsan drd gc lint   the checks that CI runs too
# make SSL= build               without TLS, though OpenSSL be there
# make coverage                 which lines the specs run, by gcov
# make bench-instructions       what each operation costs in instructions, and what has changed; WRITE=1 keeps it
# make oom finalisers random    all that can fail; a stranger's code at every allocation; random programs
# make fuzz soak chaos          any input, ten minutes of traffic, of jobs whose workers die
# make lua LUA_VERSION=5.5.0 LUA_SOURCE=lua-5.5.0.tar.gz     the specs under another Lua
# make cross ARCH=s390x         a dozen of them on another machine, under qemu (or aarch64)
# make doc    the manual        eval "$(make env)"           lets lua5.4 find the module from here
# make install uninstall        without LuaRocks, below PREFIX (and DESTDIR)
# make pictures                 draws what is in doc/pictures anew
# make hooks  lets git check each commit (tools/hooks)       make rockspec  writes its lists of files
# make dist   what a release consists of, in dist/; tools/release X.Y.Z makes one
# make help   this page. SPEC="spec/a_spec.lua ..." runs some of the specs only
# Each installs what is missing (Debian, as root) and nothing else.

CC      ?= cc
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes
JOBS    := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
LUA     ?= lua5.4
PREFIX  ?= /usr/local
BUILD   ?= build
LUA_INC := $(shell pkg-config --cflags lua5.4 2>/dev/null || echo -I/usr/include/lua5.4)
LUA_LIB := $(shell pkg-config --libs lua5.4 2>/dev/null || echo -llua5.4)
UV_INC  := -Isrc $(if $(LIBUV_INCDIR),-I$(LIBUV_INCDIR)) $(if $(LIBUV_DIR),-I$(LIBUV_DIR)/include)
UV_LIB  := $(if $(LIBUV_LIBDIR),-L$(LIBUV_LIBDIR)) $(if $(LIBUV_DIR),-L$(LIBUV_DIR)/lib) -luv
SHARED  := $(if $(filter Darwin,$(shell uname -s)),-bundle -undefined dynamic_lookup,-shared)
# asyncio.openssl is made where OpenSSL's headers are; `make SSL=` does without.
SSL     := $(shell pkg-config --exists 'openssl >= 3.0' 2>/dev/null && echo tls)
SSL     := $(if $(wildcard src/tls/*.c),$(SSL))
SSL_INC := $(if $(SSL),$(shell pkg-config --cflags openssl 2>/dev/null))
SSL_LIB := $(if $(SSL),$(shell pkg-config --libs openssl 2>/dev/null || echo -lssl -lcrypto))
SRC     := $(filter-out $(if $(SSL),,src/tls/% src/sec/%),$(wildcard src/*.c src/*/*.c))
OBJ     := $(SRC:src/%.c=$(BUILD)/%.o)
# Folders of src/ that are C modules of their own; all others are asyncio.core (doc/layers.txt).
APART   := editor http resp pack parse $(if $(SSL),tls sec)
MODULES := $(BUILD)/asyncio/core.so $(BUILD)/asyncio/editor.so $(BUILD)/asyncio/grammar.so $(if $(SSL),$(BUILD)/asyncio/openssl.so)

export LUA_PATH  := $(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(CURDIR)/spec/?.lua;;
export LUA_CPATH := $(CURDIR)/$(BUILD)/?.so;;
export LUA

.PHONY: all build setup setup-test setup-check demo test bench bench-instructions asan valgrind tsan drd gc lint oom finalisers random fuzz soak chaos doc env clean
.PHONY: modules without install uninstall dist setup-bench setup-instructions setup-doc coverage help lua cross setup-cross hooks rockspec pictures

all: build

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

setup:
	@sh tools/setup build
setup-test:
	@sh tools/setup test
setup-check:
	@sh tools/setup check
setup-bench:
	@sh tools/setup bench
setup-instructions:
	@sh tools/setup instructions
setup-doc:
	@sh tools/setup doc
setup-cross:
	@sh tools/setup cross

# A make of its own: setup may have installed what this one didn't find. On all processors, if nobody said how many.
build: setup
	@$(MAKE) --no-print-directory -q modules || \
	  $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS)) modules without

modules: $(MODULES)

without:
	@$(if $(SSL)$(filter command line,$(origin SSL)),:,echo "asyncio.ssl is left out: it needs OpenSSL 3's headers (Debian's libssl-dev)")

$(BUILD)/asyncio/core.so: LIBS = $(UV_LIB) -lpthread
$(BUILD)/asyncio/core.so: $(filter-out $(APART:%=$(BUILD)/%/%),$(OBJ))
$(BUILD)/asyncio/editor.so: LIBS = $(if $(filter Linux,$(shell uname -s)),-ldl)
$(BUILD)/asyncio/editor.so: $(filter $(BUILD)/editor/%,$(OBJ))
$(BUILD)/asyncio/grammar.so: $(filter $(BUILD)/http/% $(BUILD)/resp/% $(BUILD)/pack/% $(BUILD)/parse/%,$(OBJ))
$(BUILD)/asyncio/openssl.so: LIBS = $(SSL_LIB)
$(BUILD)/asyncio/openssl.so: $(filter $(BUILD)/tls/% $(BUILD)/sec/%,$(OBJ))
$(MODULES):
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SHARED) -o $@.new $^ $(LIBS) $(LDFLAGS)
	@mv $@.new $@ # a running program keeps the old one

$(BUILD)/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARN) -fPIC $(LUA_INC) $(UV_INC) $(SSL_INC) -MMD -MP -c -o $@ $<

-include $(OBJ:.o=.d)

# For the specs about memory that runs out: a program with all of it, whose allocations can fail.
$(BUILD)/oom/host: tools/oom/host.c $(SRC) $(wildcard src/*/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARN) -DASY_FAIL_MALLOC $(if $(SSL),-DHOST_OPENSSL) $(LUA_INC) $(UV_INC) $(SSL_INC) -o $@.$$$$ \
	  tools/oom/host.c $(SRC) $(LUA_LIB) $(UV_LIB) $(SSL_LIB) -lpthread -ldl -lm $(LDFLAGS) && mv $@.$$$$ $@ # two spec files may make it at once

demo: build
	@$(LUA) examples/tour.lua

test: setup-test build
	@$(MAKE) --no-print-directory -s $(BUILD)/oom/host
	@SPEC_JOBS=$${SPEC_JOBS:-$$(getconf _NPROCESSORS_ONLN || echo 1)} $(LUA) spec/run.lua $(SPEC)

bench: setup-bench build
	@bench/results
bench-instructions: setup-instructions build $(BUILD)/bench/seed.so $(BUILD)/bench/floor.so
	@JOBS=$${JOBS:-$$(getconf _NPROCESSORS_ONLN || echo 1)} $(LUA) bench/instructions.lua
$(BUILD)/bench/seed.so: bench/seed.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARN) -fPIC -shared -o $@ $<
$(BUILD)/bench/floor.so: bench/floor.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARN) -fPIC -shared $(LUA_INC) -o $@ $<

asan: setup-check
	@sh tools/check asan
valgrind: setup-check build
	@sh tools/check valgrind
tsan: setup-check
	@sh tools/check tsan
drd: setup-check build
	@sh tools/check drd
gc: setup-check build
	@sh tools/check gc
coverage: setup-check
	@sh tools/check coverage
lint: setup-check
	@sh tools/check lint
oom: setup-check
	@sh tools/check oom
finalisers: setup-check
	@sh tools/check finalisers
fuzz: setup-check
	@sh tools/check fuzz
soak: setup build
	@sh tools/check soak
chaos: setup-test build
	@sh tools/check chaos
random: setup build
	@sh tools/check random

lua: setup-test
	@sh tools/other-lua "$(LUA_VERSION)" "$(LUA_SOURCE)"
ARCH ?= s390x
cross: setup-cross
	@sh tools/cross $(ARCH)

hooks:
	git config core.hooksPath tools/hooks
rockspec: setup
	@$(LUA) tools/rockspec.lua
pictures: setup build
	@$(LUA) tools/pictures.lua doc/pictures >/dev/null
	@$(LUA) tools/diagrams.lua doc/pictures
	@$(LUA) tools/charts.lua doc/pictures
doc: setup-doc
	@sh tools/doc doc/api && echo "open doc/api/index.html in a browser"
env:
	@echo "export LUA_PATH='$(LUA_PATH)' LUA_CPATH='$(LUA_CPATH)'"

# Where a Lua 5.4 of that prefix looks for modules.
SHARE := $(DESTDIR)$(PREFIX)/share/lua/5.4
LIB   := $(DESTDIR)$(PREFIX)/lib/lua/5.4

install: build
	install -d $(SHARE)/asyncio $(LIB)/asyncio $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/lua-asyncio
	install -m 644 lua/asyncio/*.lua $(SHARE)/asyncio
	for d in $(patsubst lua/asyncio/%/,%,$(wildcard lua/asyncio/*/)); do \
	  install -d $(SHARE)/asyncio/$$d && install -m 644 lua/asyncio/$$d/*.lua $(SHARE)/asyncio/$$d || exit; done
	install $(MODULES) $(LIB)/asyncio
	sed 's|^local INSTALLED = nil.*|local INSTALLED = "$(abspath $(PREFIX))"|' bin/asyncio >$(BUILD)/command
	install $(BUILD)/command $(DESTDIR)$(PREFIX)/bin/asyncio
	rm $(BUILD)/command
	cp -R types $(DESTDIR)$(PREFIX)/share/lua-asyncio
uninstall:
	rm -rf $(SHARE)/asyncio $(LIB)/asyncio $(DESTDIR)$(PREFIX)/bin/asyncio $(DESTDIR)$(PREFIX)/share/lua-asyncio
dist: setup-check
	@sh tools/dist dist

clean:
	rm -rf build build-*
