/*
 * patterns.c
 *		Lists of names, each exact or by a trailing ".*".  See patterns.h.
 *
 * A name is looked up whole among the exact ones, and cut off behind each of
 * its dots among the others: as many binary searches as it has dots, however
 * long the list is.
 */
#include "reflex.h"

#include "event/patterns.h"

/* Any order will do; by length first it mostly needs no look at the bytes. */
static int
compare(const void *a, const void *b)
{
	const RxPattern *left = a;
	const RxPattern *right = b;

	if (left->len != right->len)
		return left->len < right->len ? -1 : 1;
	return memcmp(left->text, right->text, left->len);
}

static bool
is_listed(const RxPattern *list, int n, const char *name, int len)
{
	RxPattern	wanted = {name, len};

	return n > 0 && bsearch(&wanted, list, n, sizeof(RxPattern), compare) != NULL;
}

void
rx_patterns_make(RxPatterns *patterns, char **texts, int n)
{
	memset(patterns, 0, sizeof(*patterns));
	patterns->exact = palloc_array(RxPattern, Max(n, 1));
	patterns->below = palloc_array(RxPattern, Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		int			len = (int) strlen(texts[i]);
		bool		below = len >= 2 && strcmp(texts[i] + len - 2, ".*") == 0;
		RxPattern  *pattern = below ? &patterns->below[patterns->n_below++] : &patterns->exact[patterns->n_exact++];

		pattern->text = texts[i];
		pattern->len = below ? len - 1 : len;
	}
	qsort(patterns->exact, patterns->n_exact, sizeof(RxPattern), compare);
	qsort(patterns->below, patterns->n_below, sizeof(RxPattern), compare);
}

bool
rx_patterns_match(const RxPatterns *patterns, const char *name, int len)
{
	if (is_listed(patterns->exact, patterns->n_exact, name, len))
		return true;
	/* Something has to follow the dot. */
	for (int i = 0; patterns->n_below > 0 && i < len - 1; i++)
		if (name[i] == '.' && is_listed(patterns->below, patterns->n_below, name, i + 1))
			return true;
	return false;
}
