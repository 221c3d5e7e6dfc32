# reflex: build, install, test.  `make help` lists what there is to make.
EXTENSION = reflex
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" reflex.control)
PG_CONFIG ?= pg_config

include sql/order.mk

MODULE_big = reflex
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built = sql/reflex--$(EXTVERSION).sql
PG_CPPFLAGS = -I$(srcdir)/src $(shell pkg-config --cflags libcurl libcrypto)
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Wshadow -Wno-unused-parameter -Wno-missing-field-initializers -Wno-declaration-after-statement -Wno-sign-compare -Werror
SHLIB_LINK = $(shell pkg-config --libs libcurl libcrypto) -lpthread
EXTRA_CLEAN = sql/reflex--$(EXTVERSION).sql

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Every object sees a change of any header: the tree is small, and a stale
# object costs more than a rebuild.
$(OBJS): $(wildcard src/*.h src/*/*.h)

sql/reflex--$(EXTVERSION).sql: sql/guard.sql $(SQL_STATE) $(SQL_CODE) sql/order.mk reflex.control
	cat sql/guard.sql $(SQL_STATE) $(SQL_CODE) > $@
