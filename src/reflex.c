/*
 * reflex.c
 *		_PG_init: settings, shared memory, hooks, the launcher.  Nothing else.
 *
 * Loaded without shared_preload_libraries the library defines its settings and
 * nothing more; stateful functions then raise 55000 (rx_shmem_require).
 */
#include "reflex.h"

#include "event/event.h"
#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/shmem.h"
#include "pg/wakeup.h"
#include "utils/builtins.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	rx_guc_define();
	if (!process_shared_preload_libraries_in_progress)
		return;
	rx_wakeup_init();
	rx_event_init();
	rx_worker_init();
	rx_shmem_install();
}

/* version() - the version of the loaded library. */
REFLEX_FUNCTION(reflex_version)
{
	PG_RETURN_TEXT_P(cstring_to_text(REFLEX_VERSION));
}
