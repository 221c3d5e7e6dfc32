/*
 * try.c
 *		Runs something that may fail inside a larger transaction.  See try.h.
 *
 * The order of things is that of PL/pgSQL's exception blocks.  Termination
 * (FATAL) does not come by here; a cancelled query does, and counts as failed.
 */
#include "reflex.h"

#include "access/xact.h"
#include "pg/try.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static void
leave(MemoryContext context, ResourceOwner owner)
{
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

ErrorData *
rx_try(void (*fn) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		fn(arg);
		ReleaseCurrentSubTransaction();
		leave(context, owner);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		leave(context, owner);
	}
	PG_END_TRY();
	return error;
}
