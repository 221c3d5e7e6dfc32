# reflex: build, install, test.  `make help` lists what there is to make.
#
# Two halves.  The house (check, demo, lint, ...) calls scripts that install
# what they need, PostgreSQL included, so it must work before there is one.
# The build (all, install, installcheck, clean) is PGXS, and is read only when
# it is asked for; PGXS has a `check` of its own that says it is not supported.
HOUSE = help check check-all demo bench lint lint-fix format coverage \
	dev dev-down db-shell logs docs migrate
BUILD_GOALS := $(filter-out $(HOUSE),$(or $(MAKECMDGOALS),all))

.DEFAULT_GOAL = all
.PHONY: $(HOUSE)

help: ## list what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 - \2/p' Makefile | awk -F' - ' '{printf "%-22s %s\n", $$1, $$2}'

ifeq ($(BUILD_GOALS),)
check: ## all tests: build, unit, regression, isolation, TAP, contracts
	@scripts/test.sh
endif

check-all: ## the tests and lint, and what takes longer than a quarter of an hour
	@scripts/check-all.sh

demo: ## a database that watches itself, in a minute
	@scripts/demo.sh

bench: ## measure against bare INSERT and a SKIP LOCKED queue
	@bench/run.sh

lint: ## compile with assertions, cppcheck, shellcheck, perltidy, layout
	@scripts/lint.sh

lint-fix: ## lint, after putting right what can be
	@scripts/lint.sh --fix

format: ## lay out C and Perl as the house does
	@scripts/lint.sh --format

coverage: ## all tests, and how much of each C file they reach
	@scripts/test.sh --coverage

dev: ## a development server that rebuilds and restarts on change
	@scripts/dev.sh

dev-down: ## stop the development server
	@scripts/dev.sh --down

db-shell: ## psql in the development server
	@scripts/dev.sh --psql

logs: ## follow the development server's log
	@scripts/dev.sh --logs

docs: ## docs/sql-api.md and docs/settings.md from the installed extension
	@scripts/reference.sh
migrate: ## ALTER EXTENSION reflex UPDATE in the database that PG* names
	@scripts/migrate.sh

ifneq ($(BUILD_GOALS),)

EXTENSION = reflex
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" reflex.control)
PG_CONFIG ?= pg_config

include sql/order.mk

# Version U is brought to the present one by every delta from U on, in order,
# and one replay of the code.  The code of the versions between is not kept, so
# there is one script from each old version and none between two old ones.
DELTAS = $(wildcard sql/upgrade/*--*.sql)
UPGRADES = $(foreach d,$(DELTAS),sql/reflex--$(firstword $(subst --, ,$(notdir $(d))))--$(EXTVERSION).sql)

MODULE_big = reflex
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA = sql/psql/reflex.psql
DATA_built = sql/reflex--$(EXTVERSION).sql $(UPGRADES)
PG_CPPFLAGS := -I$(CURDIR)/src $(shell pkg-config --cflags libcurl libcrypto)
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Wshadow -Wno-unused-parameter -Wno-missing-field-initializers -Wno-declaration-after-statement -Wno-sign-compare -Werror
SHLIB_LINK := $(shell pkg-config --libs libcurl libcrypto) -lpthread
EXTRA_CLEAN = sql/reflex--*.sql build results regression.diffs regression.out log \
	tmp_check tmp_check_iso output_iso $(wildcard src/*.gc?? src/*/*.gc??)

# Each suite is its directory; none is listed twice.
REGRESS = $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=reflex \
	--temp-instance=./tmp_check --temp-config=test/regress.conf
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=reflex \
	--temp-instance=./tmp_check_iso --temp-config=test/regress.conf
ifneq ($(wildcard test/t/*.pl),)
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
endif

# No function here is worth inlining into a query's machine code, and clang
# would compile everything once more.
override with_llvm := no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

all: ## (or just `make`) build the library and its SQL
install: ## install into the PostgreSQL of PG_CONFIG
installcheck: ## the installed extension in temporary servers; not as root
clean: ## remove what was built

# Every object sees a change of any header: the tree is small, and a stale
# object costs more than a rebuild.
$(OBJS): $(wildcard src/*.h src/*/*.h)

sql/reflex--$(EXTVERSION).sql: sql/guard.sql $(SQL_STATE) $(SQL_CODE) sql/order.mk reflex.control
	cat sql/guard.sql $(SQL_STATE) $(SQL_CODE) > $@

sql/reflex--%--$(EXTVERSION).sql: $(DELTAS) $(SQL_CODE) sql/order.mk scripts/upgrade-script.sh reflex.control
	scripts/upgrade-script.sh $* $(EXTVERSION) $(SQL_CODE) > $@.tmp
	mv $@.tmp $@

endif
