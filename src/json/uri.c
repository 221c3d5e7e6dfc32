/*
 * uri.c
 *		References relative to a base, as RFC 3986 section 5.2 resolves them.
 *
 * A schema's $id may be anything; what is no URI just leads nowhere.
 */
#include "reflex.h"

#include "json/json_int.h"
#include "lib/stringinfo.h"

/* Pieces of a reference; NULL where absent (path never is). */
typedef struct Uri
{
	char	   *scheme;
	char	   *authority;
	char	   *path;
	char	   *query;
	char	   *fragment;
} Uri;

/* Cuts at the first c; returns what follows, NULL when there is none. */
static char *
cut(char *s, char c)
{
	char	   *at = strchr(s, c);

	if (at == NULL)
		return NULL;
	*at = '\0';
	return at + 1;
}

static void
split(const char *s, Uri *uri)
{
	char	   *rest = pstrdup(s);
	size_t		scheme;

	uri->fragment = cut(rest, '#');
	uri->query = cut(rest, '?');
	uri->scheme = uri->authority = NULL;
	scheme = strcspn(rest, ":/");
	if (rest[scheme] == ':' && scheme > 0)
	{
		uri->scheme = pnstrdup(rest, scheme);
		rest += scheme + 1;
	}
	if (strncmp(rest, "//", 2) == 0)
	{
		size_t		authority = strcspn(rest + 2, "/");

		uri->authority = pnstrdup(rest + 2, authority);
		rest += 2 + authority;
	}
	uri->path = rest;
}

/* Takes out "." and ".."; a path that does not begin with / stays so. */
static char *
without_dots(const char *path)
{
	List	   *steps = NIL;
	StringInfoData out;
	ListCell   *cell;
	char	   *rest = pstrdup(path);
	bool		last = false;

	while (!last)
	{
		char	   *next = cut(rest, '/');

		last = next == NULL;
		if (strcmp(rest, "..") == 0 && list_length(steps) > 1)
			steps = list_delete_last(steps);
		else if (strcmp(rest, ".") != 0 && strcmp(rest, "..") != 0)
			steps = lappend(steps, rest);
		if (last && (strcmp(rest, ".") == 0 || strcmp(rest, "..") == 0))
			steps = lappend(steps, "");
		rest = next;
	}
	initStringInfo(&out);
	foreach(cell, steps)
		appendStringInfo(&out, "%s%s", foreach_current_index(cell) > 0 ? "/" : "", (char *) lfirst(cell));
	return out.data;
}

static char *
merge_paths(const Uri *base, const char *path)
{
	const char *slash = strrchr(base->path, '/');

	if (slash == NULL)
		return psprintf("%s%s", base->authority ? "/" : "", path);
	return psprintf("%.*s%s", (int) (slash + 1 - base->path), base->path, path);
}

static char *
join(const Uri *uri)
{
	StringInfoData out;

	initStringInfo(&out);
	if (uri->scheme)
		appendStringInfo(&out, "%s:", uri->scheme);
	if (uri->authority)
		appendStringInfo(&out, "//%s", uri->authority);
	appendStringInfoString(&out, uri->path);
	if (uri->query)
		appendStringInfo(&out, "?%s", uri->query);
	if (uri->fragment)
		appendStringInfo(&out, "#%s", uri->fragment);
	return out.data;
}

char *
rx_uri_resolve(const char *base, const char *reference)
{
	Uri			b;
	Uri			r;

	split(base, &b);
	split(reference, &r);
	if (r.scheme == NULL)
	{
		r.scheme = b.scheme;
		if (r.authority == NULL)
		{
			r.authority = b.authority;
			if (r.path[0] == '\0')
			{
				r.path = b.path;
				r.query = r.query ? r.query : b.query;
			}
			else if (r.path[0] != '/')
				r.path = without_dots(merge_paths(&b, r.path));
			else
				r.path = without_dots(r.path);
		}
	}
	return join(&r);
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* With %41 as A; what is not of that form stays as it is. */
char *
rx_uri_decode(const char *s)
{
	StringInfoData out;

	initStringInfo(&out);
	for (; *s; s++)
	{
		if (s[0] == '%' && hex(s[1]) >= 0 && hex(s[2]) >= 0 && (hex(s[1]) > 0 || hex(s[2]) > 0))
		{
			appendStringInfoChar(&out, (char) (hex(s[1]) * 16 + hex(s[2])));
			s += 2;
		}
		else
			appendStringInfoChar(&out, *s);
	}
	return out.data;
}
