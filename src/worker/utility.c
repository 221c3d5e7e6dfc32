/*
 * utility.c
 *		Workers let go before statements that they would be in the way of.
 *
 * PostgreSQL drops, copies, renames and moves a database only when nobody is
 * connected to it, and DROP EXTENSION or ALTER EXTENSION should not have to
 * wait for our locks.  Before such a statement runs, its database is held: the
 * workers in it are asked to leave, the launcher starts none, and the statement
 * waits until they are gone.  The hold ends with the transaction, commit or
 * abort, and the launcher looks again at what is there then.
 *
 * Only who may run the statement gets that far, so that nobody can make
 * another's workers leave by trying; but the rights are checked roughly here,
 * PostgreSQL does it properly after us.
 *
 * PREPARE TRANSACTION is refused while something is held, and after CREATE
 * EXTENSION: nobody would be left to end the hold, or to tell the launcher.
 */
#include "reflex.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pg/compat.h"
#include "pg/shmem.h"
#include "pg/wakeup.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "worker/worker_int.h"

static ProcessUtility_hook_type prev_utility;
static bool look_at_commit;

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		may;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	may = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

static void
free_database(Oid database)
{
	rx_registry_hold(database);
	rx_registry_wait_free(database);
}

static void
free_named_database(const char *name)
{
	Oid			database = get_database_oid(name, true);

	if (OidIsValid(database) && rx_database_ownercheck(database, GetUserId()))
		free_database(database);
}

/* The template: whose may be copied is PostgreSQL's business. */
static void
before_create_database(const CreatedbStmt *stmt)
{
	const char *template = "template1";
	ListCell   *lc;
	Oid			database;

	foreach(lc, stmt->options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "template") == 0 && option->arg)
			template = defGetString(option);
	}
	database = get_database_oid(template, true);
	if (OidIsValid(database) && may_create_databases())
		free_database(database);
}

static void
before_alter_database(const AlterDatabaseStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, "tablespace") == 0)
			free_named_database(stmt->dbname);
	}
}

static void
before_extension(const char *name)
{
	Oid			extension;

	if (strcmp(name, "reflex") != 0)
		return;
	extension = get_extension_oid(name, true);
	if (OidIsValid(extension) && rx_extension_ownercheck(extension, GetUserId()))
		free_database(MyDatabaseId);
}

static void
before_drop(const DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_EXTENSION)
		return;
	foreach(lc, stmt->objects)
		before_extension(strVal(lfirst(lc)));
}

static void
before_rename(const RenameStmt *stmt)
{
	if (stmt->renameType == OBJECT_DATABASE)
		free_named_database(stmt->subname);
}

static void
before_utility(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			free_named_database(((DropdbStmt *) stmt)->dbname);
			break;
		case T_CreatedbStmt:
			before_create_database((CreatedbStmt *) stmt);
			break;
		case T_AlterDatabaseStmt:
			before_alter_database((AlterDatabaseStmt *) stmt);
			break;
		case T_RenameStmt:
			before_rename((RenameStmt *) stmt);
			break;
		case T_DropStmt:
			before_drop((DropStmt *) stmt);
			break;
		case T_AlterExtensionStmt:
			before_extension(((AlterExtensionStmt *) stmt)->extname);
			break;
		case T_AlterExtensionContentsStmt:
			before_extension(((AlterExtensionContentsStmt *) stmt)->extname);
			break;
		default:
			break;
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	/* Syscache look-ups need a live transaction, as ROLLBACK does not have. */
	if (IsTransactionState() && !RecoveryInProgress())
		before_utility(pstmt->utilityStmt);
	if (prev_utility)
		prev_utility(pstmt, query, read_only_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, env, dest, qc);
}

static void
refuse_prepare(bool prepare)
{
	if (prepare && (rx_registry_holding() || look_at_commit))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot PREPARE a transaction that has created, altered or dropped the extension \"reflex\" or altered its database"));
}

static void
end_transaction(bool committed)
{
	rx_registry_release();
	if (look_at_commit && committed)
		rx_registry_look_at(MyDatabaseId);
	look_at_commit = false;
}

static const RxXactHooks xact_hooks = {
	.pre_commit = refuse_prepare,
	.at_end = end_transaction,
};

/*
 * workers_wanted() - workers shall come to this database when the transaction
 * commits.  Called at the end of the extension's script; without the library
 * preloaded there is nobody to tell.
 */
REFLEX_FUNCTION(reflex_workers_wanted)
{
	if (rx_shmem_ready())
		look_at_commit = true;
	PG_RETURN_VOID();
}

void
rx_utility_init(void)
{
	rx_xact_hooks_register(&xact_hooks);
	prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
