/*
 * tap.h
 *		Enough of the Test Anything Protocol for the unit programs.
 *
 * A program includes it once, calls the checks, and returns done().
 */
#ifndef RX_TEST_TAP_H
#define RX_TEST_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int	tap_count;
static int	tap_failures;

static inline bool
tap_report(bool good, const char *format, va_list args)
{
	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	vprintf(format, args);
	printf("\n");
	fflush(stdout);
	tap_failures += !good;
	return good;
}

__attribute__((format(printf, 2, 3)))
static inline bool
ok(bool good, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	tap_report(good, format, args);
	va_end(args);
	return good;
}

__attribute__((format(printf, 3, 4)))
static inline bool
is_number(long long got, long long expected, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	tap_report(got == expected, format, args);
	va_end(args);
	if (got != expected)
		printf("# got %lld, expected %lld\n", got, expected);
	return got == expected;
}

__attribute__((format(printf, 3, 4)))
static inline bool
is_text(const char *got, const char *expected, const char *format,...)
{
	bool		same = got && expected && strcmp(got, expected) == 0;
	va_list		args;

	va_start(args, format);
	tap_report(same, format, args);
	va_end(args);
	if (!same)
		printf("# got \"%s\", expected \"%s\"\n", got ? got : "(null)", expected ? expected : "(null)");
	return same;
}

/* The plan, at the end; the exit status. */
static inline int
done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failures == 0 && tap_count > 0 ? 0 : 1;
}

#endif							/* RX_TEST_TAP_H */
