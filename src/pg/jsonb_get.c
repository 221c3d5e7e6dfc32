/*
 * jsonb_get.c
 *		Reads members of a jsonb object from C.  See jsonb_get.h.
 */
#include "reflex.h"

#include "pg/jsonb_get.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include <limits.h>
#include <math.h>

JsonbValue *
rx_jsonb_member(JsonbContainer *object, const char *key)
{
	JsonbValue *value;

	if (!JsonContainerIsObject(object))
		return NULL;
	value = getKeyJsonValueFromContainer(object, key, strlen(key), NULL);
	return value != NULL && value->type == jbvNull ? NULL : value;
}

char *
rx_jsonb_cstring(const JsonbValue *value)
{
	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

char *
rx_jsonb_string(JsonbContainer *object, const char *key)
{
	return rx_jsonb_cstring(rx_jsonb_member(object, key));
}

int
rx_jsonb_int(JsonbContainer *object, const char *key, int otherwise)
{
	JsonbValue *value = rx_jsonb_member(object, key);
	double		number;

	if (value == NULL || value->type != jbvNumeric)
		return otherwise;
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												NumericGetDatum(value->val.numeric)));
	return fabs(number) <= INT_MAX ? (int) number : otherwise;
}

JsonbContainer *
rx_jsonb_object(JsonbValue *value)
{
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return NULL;
	return value->val.binary.data;
}

JsonbContainer *
rx_jsonb_array(JsonbValue *value)
{
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return NULL;
	return value->val.binary.data;
}

void
rx_jsonb_each(JsonbContainer *container, RxJsonbVisit visit, void *arg)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE || token == WJB_ELEM)
			visit(key, &value, arg);
	}
}
