/*
 * scope.c
 *		Locks on scopes: names that an application gives to what it wants to do
 *		alone.
 *
 * They are advisory locks of PostgreSQL's lock manager, so waiting, deadlocks,
 * lock_timeout and release at the end of the (sub)transaction are its business.
 * The functions pg_advisory_lock leave most of an advisory lock's tag unused:
 * its last field is 1 or 2 for them.  Scopes have a number of their own there,
 * so that they never meet a lock that somebody takes with those functions, and
 * all 64 bits of what remains for the hash of the name.
 *
 * Two scopes would block each other if their hashes were the same, which for
 * any two has odds of 1 to 2^64.  Nothing else happens to them then but that
 * one waits.  Names held exactly would need a table that is written for each
 * new name, or shared memory with a limit on how many there may be; neither is
 * worth it.
 *
 * Each scope held takes a place in the shared lock table, as any lock does.
 */
#include "reflex.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "storage/lock.h"

/* In the place where pg_advisory_lock has 1 or 2; Citus has 4 and up. */
#define SCOPE_CLASS 0x5258

static LOCKTAG
scope_tag(FunctionCallInfo fcinfo)
{
	text	   *scope = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	LOCKTAG		tag;
	uint64		hash;

	if (scope == NULL || VARSIZE_ANY_EXHDR(scope) == 0)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("scope must not be null or empty"));
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(scope), (int) VARSIZE_ANY_EXHDR(scope), 0);
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, SCOPE_CLASS);
	return tag;
}

/* lock_scope(scope) */
REFLEX_FUNCTION(reflex_lock_scope)
{
	LOCKTAG		tag = scope_tag(fcinfo);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}

/* try_lock_scope(scope) */
REFLEX_FUNCTION(reflex_try_lock_scope)
{
	LOCKTAG		tag = scope_tag(fcinfo);

	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/*
 * is_scope_locked(scope) - by anybody.  Looks without taking the lock even for
 * a moment, so that it makes nobody else's try fail.
 */
REFLEX_FUNCTION(reflex_is_scope_locked)
{
	LOCKTAG		tag = scope_tag(fcinfo);
	int			n;

	if (rx_lock_held_by_me(&tag, ExclusiveLock))
		PG_RETURN_BOOL(true);
	(void) GetLockConflicts(&tag, ExclusiveLock, &n);
	PG_RETURN_BOOL(n > 0);
}
