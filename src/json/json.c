/*
 * json.c
 *		JSON Schema as SQL calls it.
 */
#include "reflex.h"

#include "funcapi.h"
#include "json/json.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include <limits.h>

/* json_schema_check(schema jsonb) - raises what keeps it from being used */
REFLEX_FUNCTION(reflex_json_schema_check)
{
	rx_schema_free(rx_schema_compile(PG_GETARG_JSONB_P(0)));
	PG_RETURN_BOOL(true);
}

/* json_schema_is_valid(schema jsonb, instance jsonb) */
REFLEX_FUNCTION(reflex_json_schema_is_valid)
{
	PG_RETURN_BOOL(rx_schema_is_valid(rx_schema_cached(PG_GETARG_JSONB_P(0)), PG_GETARG_JSONB_P(1)));
}

/* json_schema_errors(schema jsonb, instance jsonb) - rows of instance_path, schema_path, message */
REFLEX_FUNCTION(reflex_json_schema_errors)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *errors = rx_schema_errors(rx_schema_cached(PG_GETARG_JSONB_P(0)), PG_GETARG_JSONB_P(1), INT_MAX);
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, errors)
	{
		const RxSchemaError *error = lfirst(cell);
		Datum		values[3] = {
			CStringGetTextDatum(error->instance_path),
			CStringGetTextDatum(error->schema_path),
			CStringGetTextDatum(error->message)
		};
		bool		nulls[3] = {false, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_NULL();
}
