/*
 * format.c
 *		The values of "format" that are checked: RFC 3339 dates and times, RFC
 *		4122 uuid, RFC 5321 mailboxes, RFC 3986 absolute URIs, IP addresses.
 *
 * All of ASCII: an international form (idn-email, iri) is another format.
 */
#include "reflex.h"

#include <arpa/inet.h>

#include "json/json_int.h"

typedef struct Scan
{
	const char *at;
	const char *end;
} Scan;

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool
is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

/* One of the characters of set, if it is next. */
static bool
take(Scan *scan, const char *set)
{
	if (scan->at >= scan->end || !is_one_of(*scan->at, set))
		return false;
	scan->at++;
	return true;
}

/* Exactly n digits that make a number from min to max. */
static bool
take_number(Scan *scan, int n, int min, int max, int *number)
{
	*number = 0;
	for (int i = 0; i < n; i++, scan->at++)
	{
		if (scan->at >= scan->end || !is_digit(*scan->at))
			return false;
		*number = *number * 10 + (*scan->at - '0');
	}
	return *number >= min && *number <= max;
}

/* ---- dates and times ---- */

static bool
take_date(Scan *scan)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			year,
				month,
				day;

	if (!take_number(scan, 4, 0, 9999, &year) || !take(scan, "-") ||
		!take_number(scan, 2, 1, 12, &month) || !take(scan, "-") ||
		!take_number(scan, 2, 1, 31, &day))
		return false;
	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return day <= 29;
	return day <= days[month - 1];
}

/* Minutes that the local time is ahead of UTC. */
static bool
take_offset(Scan *scan, int *offset)
{
	int			hours,
				minutes;
	bool		behind;

	*offset = 0;
	if (take(scan, "Zz"))
		return true;
	behind = scan->at < scan->end && *scan->at == '-';
	if (!take(scan, "+-") || !take_number(scan, 2, 0, 23, &hours) || !take(scan, ":") ||
		!take_number(scan, 2, 0, 59, &minutes))
		return false;
	*offset = (hours * 60 + minutes) * (behind ? -1 : 1);
	return true;
}

/* A leap second comes at the end of a day in UTC. */
static bool
take_time(Scan *scan)
{
	int			hour,
				minute,
				second,
				offset;

	if (!take_number(scan, 2, 0, 23, &hour) || !take(scan, ":") ||
		!take_number(scan, 2, 0, 59, &minute) || !take(scan, ":") ||
		!take_number(scan, 2, 0, 60, &second))
		return false;
	if (take(scan, "."))
	{
		if (!take(scan, "0123456789"))
			return false;
		while (take(scan, "0123456789"))
			;
	}
	if (!take_offset(scan, &offset))
		return false;
	return second < 60 || (hour * 60 + minute - offset + 2 * 1440) % 1440 == 1439;
}

static bool
is_date(const char *s, int len)
{
	Scan		scan = {s, s + len};

	return take_date(&scan) && scan.at == scan.end;
}

static bool
is_time(const char *s, int len)
{
	Scan		scan = {s, s + len};

	return take_time(&scan) && scan.at == scan.end;
}

static bool
is_date_time(const char *s, int len)
{
	Scan		scan = {s, s + len};

	return take_date(&scan) && take(&scan, "Tt") && take_time(&scan) && scan.at == scan.end;
}

static bool
is_uuid(const char *s, int len)
{
	for (int i = 0; i < len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !is_hex(s[i]))
			return false;
	return len == 36;
}

/* ---- addresses ---- */

static bool
is_address(int family, const char *s, int len)
{
	char		copy[64];
	struct in6_addr unused;

	if (len >= (int) sizeof(copy) || memchr(s, '\0', len))
		return false;
	memcpy(copy, s, len);
	copy[len] = '\0';
	return inet_pton(family, copy, &unused) == 1;
}

static bool
is_ipv4(const char *s, int len)
{
	return is_address(AF_INET, s, len);
}

static bool
is_ipv6(const char *s, int len)
{
	return is_address(AF_INET6, s, len);
}

/* Labels of letters, digits and hyphens, at most 63 each and 253 in all. */
static bool
is_domain(const char *s, int len)
{
	int			label = 0;

	for (int i = 0; i < len; i++)
	{
		bool		alnum = is_letter(s[i]) || is_digit(s[i]);

		if (s[i] == '.' && (label == 0 || s[i - 1] == '-'))
			return false;
		if (s[i] != '.' && !alnum && (s[i] != '-' || label == 0))
			return false;
		label = s[i] == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return len <= 253 && label > 0 && s[len - 1] != '-';
}

static bool
is_mail_host(const char *s, int len)
{
	if (len < 3 || s[0] != '[' || s[len - 1] != ']')
		return is_domain(s, len);
	if (len > 7 && pg_strncasecmp(s, "[IPv6:", 6) == 0)
		return is_ipv6(s + 6, len - 7);
	return is_ipv4(s + 1, len - 2);
}

static bool
is_quoted(const char *s, int len)
{
	if (len < 2 || s[0] != '"' || s[len - 1] != '"')
		return false;
	for (int i = 1; i < len - 1; i++)
	{
		if (s[i] == '\\' && ++i == len - 1)
			return false;
		if (s[i] < ' ' || s[i] > '~' || (s[i] == '"' && s[i - 1] != '\\'))
			return false;
	}
	return true;
}

static bool
is_dot_atom(const char *s, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (s[i] == '.' && (i == 0 || i == len - 1 || s[i - 1] == '.'))
			return false;
		if (!is_letter(s[i]) && !is_digit(s[i]) && !is_one_of(s[i], "!#$%&'*+-/=?^_`{|}~."))
			return false;
	}
	return len > 0;
}

static bool
is_email(const char *s, int len)
{
	int			at = len - 1;

	while (at >= 0 && s[at] != '@')
		at--;
	return at > 0 && at <= 64 && (is_dot_atom(s, at) || is_quoted(s, at)) &&
		is_mail_host(s + at + 1, len - at - 1);
}

/* ---- URIs ---- */

/* Of unreserved and sub-delims characters, those of extra, and %41. */
static bool
is_uri_text(const char *s, const char *end, const char *extra)
{
	for (; s < end; s++)
	{
		if (*s == '%')
		{
			if (end - s < 3 || !is_hex(s[1]) || !is_hex(s[2]))
				return false;
			s += 2;
		}
		else if (!is_letter(*s) && !is_digit(*s) && !is_one_of(*s, "-._~!$&'()*+,;=") && !is_one_of(*s, extra))
			return false;
	}
	return true;
}

static const char *
find(const char *s, const char *end, const char *set)
{
	while (s < end && !is_one_of(*s, set))
		s++;
	return s;
}

/* [userinfo@]host[:port] */
static bool
is_authority(const char *s, const char *end)
{
	const char *host = find(s, end, "@");
	const char *port;

	if (host < end && !is_uri_text(s, host, ":"))
		return false;
	host = host < end ? host + 1 : s;
	if (host < end && *host == '[')
	{
		port = find(host, end, "]");
		if (port == end || !is_ipv6(host + 1, (int) (port - host - 1)))
			return false;
		port++;
	}
	else
	{
		port = find(host, end, ":");
		if (!is_uri_text(host, port, ""))
			return false;
	}
	if (port < end && *port++ != ':')
		return false;
	while (port < end && is_digit(*port))
		port++;
	return port == end;
}

static bool
is_uri(const char *s, int len)
{
	const char *end = s + len;
	const char *fragment = find(s, end, "#");
	const char *query = find(s, fragment, "?");
	const char *colon = find(s, query, ":");
	const char *path = colon + 1;

	if (colon == query || !is_letter(*s))
		return false;
	for (const char *p = s; p < colon; p++)
		if (!is_letter(*p) && !is_digit(*p) && !is_one_of(*p, "+-."))
			return false;
	if (query - path >= 2 && path[0] == '/' && path[1] == '/')
	{
		path = find(path + 2, query, "/");
		if (!is_authority(colon + 3, path))
			return false;
	}
	return is_uri_text(path, query, ":@/") &&
		(query == fragment || is_uri_text(query + 1, fragment, ":@/?")) &&
		(fragment == end || is_uri_text(fragment + 1, end, ":@/?"));
}

static const struct
{
	const char *name;
	RxFormat	check;
}			formats[] = {
	{"date-time", is_date_time}, {"date", is_date}, {"time", is_time}, {"uuid", is_uuid},
	{"email", is_email}, {"uri", is_uri}, {"ipv4", is_ipv4}, {"ipv6", is_ipv6}
};

/* NULL: it is not one of those. */
RxFormat
rx_format_find(const char *name, int len)
{
	for (int i = 0; i < (int) lengthof(formats); i++)
		if ((int) strlen(formats[i].name) == len && memcmp(formats[i].name, name, len) == 0)
			return formats[i].check;
	return NULL;
}
