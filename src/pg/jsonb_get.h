/*
 * jsonb_get.h
 *		Reads members of a jsonb object from C.
 */
#ifndef RX_PG_JSONB_GET_H
#define RX_PG_JSONB_GET_H

#include "postgres.h"
#include "utils/jsonb.h"

/* Is the whole value an object? */
#define rx_jsonb_is_object(jb) (JB_ROOT_IS_OBJECT(jb))

/*
 * The member of an object; NULL when it is not there, is null, or the container
 * is no object.  The result and what it points to live as long as the container.
 */
extern JsonbValue *rx_jsonb_member(JsonbContainer *object, const char *key);

/* The member as a new C string; NULL unless it is a string. */
extern char *rx_jsonb_string(JsonbContainer *object, const char *key);

/* The member as an int; otherwise when it is not a number that fits. */
extern int	rx_jsonb_int(JsonbContainer *object, const char *key, int otherwise);

/* Object or array inside a value, NULL when it is the other or a scalar. */
extern JsonbContainer *rx_jsonb_object(JsonbValue *value);
extern JsonbContainer *rx_jsonb_array(JsonbValue *value);

/* A string value as a new C string; NULL when it is not one. */
extern char *rx_jsonb_cstring(const JsonbValue *value);

/* Calls fn for each member of an object or element of an array (key NULL), in stored order. */
typedef void (*RxJsonbVisit) (const char *key, JsonbValue *value, void *arg);
extern void rx_jsonb_each(JsonbContainer *container, RxJsonbVisit visit, void *arg);

#endif							/* RX_PG_JSONB_GET_H */
