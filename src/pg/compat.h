/*
 * compat.h
 *		The differences between PostgreSQL 15, 16, 17 and 18, in one place.
 *
 * This is the only file that may look at PG_VERSION_NUM.  Each entry names the
 * form that the newest server has, and gives older ones that form.
 */
#ifndef RX_PG_COMPAT_H
#define RX_PG_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "reflex needs PostgreSQL 15 or newer"
#endif

/* 17 dropped the name BackendId for ProcNumber and pgprocno with it. */
#if PG_VERSION_NUM >= 170000
#include "storage/proc.h"
#define RxMyProcNumber ((int) MyProcNumber)
#else
#include "storage/proc.h"
#define RxMyProcNumber (MyProc->pgprocno)
#endif

/* 17 replaced a backend's numbered slot count by MaxBackends + auxiliaries. */
#if PG_VERSION_NUM >= 170000
#define RxTotalProcs (MaxBackends + NUM_AUXILIARY_PROCS)
#else
#include "storage/proc.h"
#define RxTotalProcs (MaxBackends + NUM_AUXILIARY_PROCS)
#endif

/* 17 gave CreateWaitEventSet a resource owner in place of a context. */
#if PG_VERSION_NUM >= 170000
#define RxCreateWaitEventSet(n) CreateWaitEventSet(NULL, (n))
#else
#define RxCreateWaitEventSet(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

/* 18 gave index_beginscan a place for instrumentation. */
#if PG_VERSION_NUM >= 180000
#define rx_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), NULL, (nkeys), 0)
#else
#define rx_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), (nkeys), 0)
#endif

/* 17 made wait events of extensions named; before, all are "Extension". */
#if PG_VERSION_NUM >= 170000
#include "utils/wait_event.h"
#define rx_wait_event_new(name) WaitEventExtensionNew(name)
#else
#include "utils/wait_event.h"
#define rx_wait_event_new(name) ((uint32) PG_WAIT_EXTENSION)
#endif

/* 16 replaced the ownership check of each kind of object by one. */
#if PG_VERSION_NUM >= 160000
#define rx_database_ownercheck(oid, role) object_ownercheck(DatabaseRelationId, (oid), (role))
#define rx_extension_ownercheck(oid, role) object_ownercheck(ExtensionRelationId, (oid), (role))
#else
#define rx_database_ownercheck(oid, role) pg_database_ownercheck((oid), (role))
#define rx_extension_ownercheck(oid, role) pg_extension_ownercheck((oid), (role))
#endif

#endif							/* RX_PG_COMPAT_H */
