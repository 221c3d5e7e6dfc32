# The parts of the extension's SQL, in the order in which they are installed.
# This is the one place where that order is written.
#
# SQL_STATE: types, tables, indexes and roles; run once, at CREATE EXTENSION.
# SQL_CODE:  functions and views (CREATE OR REPLACE), comments and grants; run
#            at CREATE EXTENSION and again on every ALTER EXTENSION UPDATE.
SQL_STATE = \
	sql/api/roles.sql \
	sql/event/state.sql \
	sql/effect/state.sql \
	sql/agent/state.sql \
	sql/rules/state.sql \
	sql/notify/state.sql

SQL_CODE = \
	sql/json/schema.sql \
	sql/event/publish.sql \
	sql/event/types.sql \
	sql/event/session.sql \
	sql/event/scope.sql \
	sql/event/filter.sql \
	sql/event/delayed.sql \
	sql/event/subscribe.sql \
	sql/event/receive.sql \
	sql/event/move.sql \
	sql/event/dead_letter.sql \
	sql/event/replay.sql \
	sql/event/views.sql \
	sql/effect/secret.sql \
	sql/effect/emit.sql \
	sql/effect/kinds.sql \
	sql/agent/schema.sql \
	sql/agent/define.sql \
	sql/agent/run.sql \
	sql/rules/define.sql \
	sql/rules/fire.sql \
	sql/notify/notify.sql \
	sql/worker/views.sql \
	sql/api/version.sql \
	sql/api/grants.sql
