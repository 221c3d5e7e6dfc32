/*
 * reflex.h
 *		What every file of reflex needs: the version, the SQLSTATEs, and the one
 *		macro that makes a C function callable from SQL.
 *
 * This is the only header that everybody includes; it includes nothing of
 * reflex itself.
 */
#ifndef REFLEX_H
#define REFLEX_H

#include "postgres.h"
#include "fmgr.h"

#define REFLEX_VERSION "0.1.0"

/* The two schemas: the public surface, and where tables live. */
#define RX_SCHEMA "reflex"
#define RX_INTERNAL_SCHEMA "reflex_internal"

/*
 * SQLSTATEs of our own.  PostgREST answers class PT with the HTTP status that
 * the other three digits spell.
 */
#define ERRCODE_RX_FORBIDDEN MAKE_SQLSTATE('P', 'T', '4', '0', '3')
#define ERRCODE_RX_NOT_FOUND MAKE_SQLSTATE('P', 'T', '4', '0', '4')
#define ERRCODE_RX_CONFLICT MAKE_SQLSTATE('P', 'T', '4', '0', '9')
#define ERRCODE_RX_TOO_LARGE MAKE_SQLSTATE('P', 'T', '4', '1', '3')
#define ERRCODE_RX_INVALID MAKE_SQLSTATE('P', 'T', '4', '2', '2')

/*
 * Declares and defines a function that SQL calls.  PG_FUNCTION_INFO_V1 of
 * PostgreSQL 15 does not export the function itself, and the build hides what
 * is not exported.
 */
#define REFLEX_FUNCTION(name)                         \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name);                       \
	Datum name(PG_FUNCTION_ARGS)

/* Not every struct member or parameter of a callback is of use to everyone. */
#define RX_UNUSED(x) ((void) (x))

#endif							/* REFLEX_H */
