/*
 * guc.h
 *		The settings, reflex.*.  All of them are defined in guc.c, in one table.
 *
 * Units are those of the variable's comment; PostgreSQL converts from what the
 * user writes.
 */
#ifndef RX_PG_GUC_H
#define RX_PG_GUC_H

#include "postgres.h"

extern char *rx_guc_allowed_hosts;		/* list of hosts, networks, or '*' */
extern char *rx_guc_ca_file;			/* path, or empty for the system's */
extern char *rx_guc_databases;			/* list of names, or '*' */
extern char *rx_guc_default_model;		/* provider:model */
extern int	rx_guc_dedupe_window;	/* s */
extern int	rx_guc_event_max_attempts;
extern int	rx_guc_event_max_size;		/* bytes */
extern int	rx_guc_event_retention; /* s */
extern int	rx_guc_event_retry_base_delay;	/* ms */
extern int	rx_guc_event_retry_max_delay;	/* ms */
extern int	rx_guc_handler_timeout;		/* ms */
extern int	rx_guc_http_timeout;		/* ms */
extern int	rx_guc_llm_timeout;			/* ms */
extern int	rx_guc_log_max_size;	/* MB; 0: no limit */
extern int	rx_guc_max_inflight;
extern int	rx_guc_max_response_size;	/* bytes */
extern int	rx_guc_node_id;
extern int	rx_guc_poll_interval;		/* ms */
extern char *rx_guc_secret_key_file;	/* path, or empty for one in the data directory */
extern int	rx_guc_shared_memory;		/* kB */
extern bool rx_guc_strict_event_types;
extern char *rx_guc_traceparent;
extern int	rx_guc_workers_per_database;

extern void rx_guc_define(void);

#endif							/* RX_PG_GUC_H */
