/*
 * shmem.h
 *		Shared memory: who wants how much, and who fills it first.
 *
 * Each room that keeps something in shared memory declares one area here in
 * _PG_init.  The postmaster asks every area for its size and lets each one
 * initialise its own struct; later the room finds it through its own pointer.
 * Nothing process-local (latches of others, descriptors, heap pointers) goes in.
 */
#ifndef RX_PG_SHMEM_H
#define RX_PG_SHMEM_H

#include "postgres.h"
#include "storage/lwlock.h"

typedef struct RxShmemArea
{
	const char *name;			/* for ShmemInitStruct, "reflex <room>" */
	Size		(*size) (void);
	/* found: another process has filled it; then only keep the pointer. */
	void		(*attach) (void *ptr, bool found);
} RxShmemArea;

/* Called by the rooms' own init functions, from _PG_init only. */
extern void rx_shmem_register(const RxShmemArea *area);

/* Installs the hooks.  Called by _PG_init, after GUCs are defined. */
extern void rx_shmem_install(void);

/* Is the library preloaded, so that shared memory exists? */
extern bool rx_shmem_ready(void);

/* Raises 55000 with the line to add when it is not. */
extern void rx_shmem_require(void);

/* A new LWLock tranche id, registered under this name in this process. */
extern int	rx_shmem_tranche(void);

#endif							/* RX_PG_SHMEM_H */
