/*
 * resolve.c
 *		Links each $ref to the node that it names, and refuses circles.
 *
 * A reference is a URI, resolved against the $id of the schema around it, with
 * a fragment that is a JSON pointer, an anchor, or empty.  Only what is in the
 * document can be named: nothing is fetched.
 *
 * A schema may come back to itself for a part of a value, which ends with the
 * value.  One that comes back to itself for the same value would not end, and
 * is refused here rather than found out at somebody's publish.
 */
#include "reflex.h"

#include "json/json_int.h"
#include "miscadmin.h"

static RxNode *
find_link(List *links, const char *uri)
{
	ListCell   *cell;

	foreach(cell, links)
	{
		RxLink	   *link = lfirst(cell);

		if (strcmp(link->uri, uri) == 0)
			return link->node;
	}
	return NULL;
}

static int
by_path(const ListCell *a, const ListCell *b)
{
	return strcmp(((RxNode *) lfirst(a))->path, ((RxNode *) lfirst(b))->path);
}

/* nodes are sorted by their path. */
static RxNode *
find_node(List *nodes, const char *path)
{
	int			low = 0;
	int			high = list_length(nodes);

	while (low < high)
	{
		int			middle = (low + high) / 2;
		RxNode	   *node = list_nth(nodes, middle);
		int			order = strcmp(path, node->path);

		if (order == 0)
			return node;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static RxNode *
find_target(RxCompiler *c, char *uri)
{
	char	   *fragment = strchr(uri, '#');
	RxNode	   *resource;

	if (fragment && fragment[1] != '\0' && fragment[1] != '/')
		return find_link(c->anchors, uri);
	if (fragment)
		*fragment++ = '\0';
	resource = find_link(c->resources, uri);
	if (resource == NULL || fragment == NULL || *fragment == '\0')
		return resource;
	return find_node(c->nodes, psprintf("%s%s", resource->path, rx_uri_decode(fragment)));
}

static void
link_ref(RxCompiler *c, RxLink *ref)
{
	char	   *uri = pstrdup(ref->uri);

	ref->check->schema = find_target(c, uri);
	if (ref->check->schema == NULL)
		rx_schema_refuse(ref->node->path, "$ref",
						 psprintf("It leads to no schema of this document: \"%s\".", ref->uri));
}

static void
visit_node(RxNode *node)
{
	ListCell   *cell;

	check_stack_depth();
	if (node == NULL || node->mark == 'x')
		return;
	if (node->mark == 'o')
		rx_schema_refuse(node->path, NULL, "The schema refers to itself for the same value, which would not end.");
	node->mark = 'o';
	foreach(cell, node->checks)
	{
		RxCheck    *check = lfirst(cell);

		/* Those that look at the whole value again, not at a part of it. */
		if (check->keyword->check != rx_check_ref && check->keyword->check != rx_check_all &&
			check->keyword->check != rx_check_any && check->keyword->check != rx_check_one &&
			check->keyword->check != rx_check_not && check->keyword->check != rx_check_if &&
			check->keyword->check != rx_check_dependencies)
			continue;
		visit_node(check->schema);
		visit_node(check->then_schema);
		visit_node(check->else_schema);
		for (int i = 0; i < check->n_parts; i++)
			visit_node(check->parts[i].schema);
	}
	node->mark = 'x';
}

void
rx_schema_resolve(RxCompiler *c)
{
	ListCell   *cell;

	list_sort(c->nodes, by_path);
	foreach(cell, c->refs)
		link_ref(c, lfirst(cell));
	foreach(cell, c->nodes)
		visit_node(lfirst(cell));
}
