/*
 * pattern.c
 *		Regular expressions of JSON Schema on PostgreSQL's engine.
 *
 * JSON Schema means those of ECMAScript, PostgreSQL's are its own (ARE).  The
 * pattern is translated piece by piece, so that what both write alike means
 * what ECMAScript says, whatever the database's locale: ^ and $ match at the
 * ends of the string alone, \d and \w are ASCII, \s is all white space of
 * Unicode, a dot is no line break.  What has no translation is refused: back
 * references (they make matching exponential), \p{...}, the empty class [],
 * more than 255 repetitions.
 */
#include "reflex.h"

#include "catalog/pg_collation.h"
#include "json/json_int.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include <ctype.h>

typedef struct Reader
{
	const char *at;
	const char *end;
	StringInfoData out;
	const char *reason;			/* not NULL: it can't be translated */
} Reader;

/* What stands between [ and ], and its complement, which could not be said there. */
#define DIGIT "0-9"
#define NOT_DIGIT "\\u0001-/:-\\U0010ffff"
#define WORD "A-Za-z0-9_"
#define NOT_WORD "\\u0001-/:-@\\u005b-\\u005e`\\u007b-\\U0010ffff"
#define SPACE "\\u0009-\\u000d \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff"
#define NOT_SPACE "\\u0001-\\u0008\\u000e-\\u001f!-\\u009f\\u00a1-\\u167f\\u1681-\\u1fff\\u200b-\\u2027" \
	"\\u202a-\\u202e\\u2030-\\u205e\\u2060-\\u2fff\\u3001-\\ufefe\\uff00-\\U0010ffff"
#define LINE_BREAK "\\u000a\\u000d\\u2028\\u2029"

static bool
more(const Reader *r)
{
	return r->at < r->end && r->reason == NULL;
}

static bool
next_is(const Reader *r, const char *s)
{
	size_t		len = strlen(s);

	return (size_t) (r->end - r->at) >= len && memcmp(r->at, s, len) == 0;
}

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* The text that stands for one character, inside of brackets and outside. */
static char *
literal(const char *s, int len)
{
	if (len == 1 && !IS_HIGHBIT_SET(*s) && !is_alnum(*s))
		return psprintf("\\u%04x", (unsigned char) *s);
	return pnstrdup(s, len);
}

static char *
literal_code(Reader *r, uint32 code)
{
	if (code > 127 && GetDatabaseEncoding() != PG_UTF8)
		r->reason = "In this database's encoding, characters can't be written by their code.";
	if (code == 0 || code > 0x10ffff)
		r->reason = "There is no character with that code.";
	return psprintf("\\U%08x", code);
}

/* Exactly n hexadecimal digits. */
static uint32
read_hex(Reader *r, int n)
{
	uint32		code = 0;

	for (int i = 0; i < n; i++, r->at++)
	{
		if (r->at >= r->end || !isxdigit((unsigned char) *r->at))
		{
			r->reason = "A hexadecimal digit is missing.";
			return 0;
		}
		code = code * 16 + (*r->at <= '9' ? *r->at - '0' : (*r->at | 0x20) - 'a' + 10);
	}
	return code;
}

/* After \u: four digits, perhaps of a surrogate pair, or {...}. */
static uint32
read_unicode(Reader *r)
{
	uint32		code;

	if (next_is(r, "{"))
	{
		const char *close = memchr(r->at, '}', r->end - r->at);

		r->at++;
		code = read_hex(r, close ? (int) Min(close - r->at, 7) : 1);
		if (r->reason == NULL && !next_is(r, "}"))
			r->reason = "There is no character with that code.";
		r->at++;
		return code;
	}
	code = read_hex(r, 4);
	if (code >= 0xd800 && code < 0xdc00 && next_is(r, "\\u"))
	{
		uint32		low;

		r->at += 2;
		low = read_hex(r, 4);
		if (low >= 0xdc00 && low < 0xe000)
			return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	if (code >= 0xd800 && code < 0xe000)
		r->reason = "Half of a surrogate pair is no character.";
	return code;
}

static const char *
class_of(char c)
{
	switch (c)
	{
		case 'd':
			return DIGIT;
		case 'D':
			return NOT_DIGIT;
		case 'w':
			return WORD;
		case 'W':
			return NOT_WORD;
		case 's':
			return SPACE;
		case 'S':
			return NOT_SPACE;
		default:
			return NULL;
	}
}

/* After a backslash: one character.  Others are for the caller. */
static char *
read_escaped(Reader *r)
{
	static const char names[] = "tnvfr";
	static const char codes[] = "\t\n\v\f\r";
	char		c = *r->at++;
	const char *name = strchr(names, c);

	if (c != '\0' && name)
		return literal_code(r, codes[name - names]);
	if (c == 'c' && more(r) && isalpha((unsigned char) *r->at))
		return literal_code(r, *r->at++ & 31);
	if (c == 'x')
		return literal_code(r, read_hex(r, 2));
	if (c == 'u')
		return literal_code(r, read_unicode(r));
	if (c == 'k' || (c >= '0' && c <= '9'))
		r->reason = "Back references are not supported.";
	else if (c == 'p' || c == 'P')
		r->reason = "Unicode properties (\\p) are not supported.";
	else if (is_alnum(c))
		r->reason = psprintf("There is no escape \\%c.", c);
	return literal(r->at - 1, 1);
}

/* One character, written out or escaped. */
static char *
read_character(Reader *r)
{
	int			len;

	if (*r->at != '\\')
	{
		len = Min(pg_mblen(r->at), (int) (r->end - r->at));
		r->at += len;
		return literal(r->at - len, len);
	}
	if (++r->at == r->end)
	{
		r->reason = "It ends with a backslash.";
		return "";
	}
	return read_escaped(r);
}

/* A member of [...]: a class (true) or a character. */
static bool
read_member(Reader *r, const char **member)
{
	*member = NULL;
	if (*r->at == '\\' && r->at + 1 < r->end)
		*member = class_of(r->at[1]);
	if (*member)
	{
		r->at += 2;
		return true;
	}
	if (next_is(r, "\\b"))
	{
		r->at += 2;
		*member = "\\u0008";
	}
	else if (next_is(r, "\\-"))
	{
		r->at += 2;
		*member = "\\u002d";
	}
	else
		*member = read_character(r);
	return false;
}

static void
translate_members(Reader *r)
{
	while (more(r) && *r->at != ']')
	{
		const char *from;
		const char *to;
		bool		is_class = read_member(r, &from);

		appendStringInfoString(&r->out, from);
		if (is_class || r->reason || r->end - r->at < 2 || r->at[0] != '-' || r->at[1] == ']')
			continue;
		r->at++;
		if (read_member(r, &to))
			appendStringInfo(&r->out, "\\u002d%s", to);
		else
			appendStringInfo(&r->out, "-%s", to);
	}
}

static void
translate_bracket(Reader *r)
{
	bool		complement;

	r->at++;
	complement = next_is(r, "^");
	r->at += complement;
	if (next_is(r, "]"))
	{
		if (!complement)
			r->reason = "The empty class [] is not supported.";
		appendStringInfoChar(&r->out, '.');
		r->at++;
		return;
	}
	appendStringInfoString(&r->out, complement ? "[^" : "[");
	translate_members(r);
	if (r->reason == NULL && r->at == r->end)
		r->reason = "A bracket is not closed.";
	appendStringInfoChar(&r->out, ']');
	r->at++;
}

static void
translate_escape(Reader *r)
{
	char		c = r->at + 1 < r->end ? r->at[1] : '\0';
	const char *class = class_of(c);

	if (class)
		appendStringInfo(&r->out, "[%s]", class);
	else if (c == 'b' || c == 'B')
		appendStringInfoString(&r->out, c == 'b' ? "\\y" : "\\Y");
	else
	{
		appendStringInfoString(&r->out, read_character(r));
		return;
	}
	r->at += 2;
}

static void
translate_group(Reader *r)
{
	static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!"};

	for (int i = 0; i < (int) lengthof(kinds); i++)
		if (next_is(r, kinds[i]))
		{
			appendStringInfoString(&r->out, kinds[i]);
			r->at += strlen(kinds[i]);
			return;
		}
	if (next_is(r, "(?<"))
	{
		const char *close = memchr(r->at, '>', r->end - r->at);

		if (close)
			r->at = close;
		else
			r->reason = "The name of a group is not closed.";
	}
	else if (next_is(r, "(?"))
		r->reason = "This kind of group is not supported.";
	appendStringInfoString(&r->out, "(?:");
	r->at++;
}

/* {n}, {n,} or {n,m}; any other { is a character. */
static void
translate_brace(Reader *r)
{
	const char *p = r->at + 1;

	while (p < r->end && isdigit((unsigned char) *p))
		p++;
	if (p > r->at + 1 && p < r->end && *p == ',')
		for (p++; p < r->end && isdigit((unsigned char) *p);)
			p++;
	if (p > r->at + 1 && p < r->end && *p == '}')
	{
		appendBinaryStringInfo(&r->out, r->at, (int) (p + 1 - r->at));
		r->at = p + 1;
	}
	else
	{
		appendStringInfoString(&r->out, "\\{");
		r->at++;
	}
}

/* The director says that an ARE follows, whatever it begins with. */
static void
translate(Reader *r)
{
	appendStringInfoString(&r->out, "***:");
	while (more(r))
	{
		if (*r->at == '\\')
			translate_escape(r);
		else if (*r->at == '[')
			translate_bracket(r);
		else if (*r->at == '(')
			translate_group(r);
		else if (*r->at == '{')
			translate_brace(r);
		else if (*r->at == '.')
		{
			appendStringInfoString(&r->out, "[^" LINE_BREAK "]");
			r->at++;
		}
		else if (strchr(")^$|*+?", *r->at))
			appendStringInfoChar(&r->out, *r->at++);
		else
			appendStringInfoString(&r->out, read_character(r));
	}
}

/* The engine may have memory of its own (malloc, up to 15), freed with the context. */
static void
free_pattern(void *arg)
{
	pg_regfree(arg);
}

static regex_t *
compile_translated(const char *are, int len, const char **reason)
{
	regex_t    *pattern = palloc0(sizeof(regex_t));
	pg_wchar   *wide = palloc((len + 1) * sizeof(pg_wchar));
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	int			n = pg_mb2wchar_with_len(are, wide, len);
	int			rc = pg_regcomp(pattern, wide, n, REG_ADVANCED | REG_NOSUB, C_COLLATION_OID);

	pfree(wide);
	if (rc != REG_OKAY)
	{
		char	   *error = palloc(100);

		pg_regerror(rc, pattern, error, 100);
		*reason = error;
		CHECK_FOR_INTERRUPTS();
		return NULL;
	}
	callback->func = free_pattern;
	callback->arg = pattern;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return pattern;
}

/* In the current memory context, and freed with it; NULL and a reason when it can't be. */
regex_t *
rx_pattern_compile(const char *pattern, int len, const char **reason)
{
	Reader		r = {.at = pattern, .end = pattern + len};

	if (len > RX_SCHEMA_MAX_PATTERN)
	{
		*reason = psprintf("It has %d bytes, and may have %d.", len, RX_SCHEMA_MAX_PATTERN);
		return NULL;
	}
	initStringInfo(&r.out);
	translate(&r);
	if (r.reason)
	{
		*reason = r.reason;
		return NULL;
	}
	return compile_translated(r.out.data, r.out.len, reason);
}

/* Anywhere in the string. */
bool
rx_pattern_matches(regex_t *pattern, const char *s, int len)
{
	pg_wchar	few[128];
	pg_wchar   *wide = len < (int) lengthof(few) ? few : palloc((len + 1) * sizeof(pg_wchar));
	int			n = pg_mb2wchar_with_len(s, wide, len);
	int			rc = pg_regexec(pattern, wide, n, 0, NULL, 0, NULL, 0);

	if (wide != few)
		pfree(wide);
	if (rc != REG_OKAY && rc != REG_NOMATCH)
	{
		char		error[100];

		CHECK_FOR_INTERRUPTS();
		pg_regerror(rc, pattern, error, sizeof(error));
		ereport(ERROR,
				errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
				errmsg("regular expression failed: %s", error));
	}
	return rc == REG_OKAY;
}
