/*
 * secret.c
 *		Secrets: encrypted values with a name.  See secret.h.
 *
 * The table holds the box (crypto/secretbox.h) with the secret's name bound
 * into it, so that neither reading nor exchanging rows gains anything.  Storing
 * is done here rather than in SQL, because a value that passes through an SQL
 * statement shows up in error contexts and statement logs.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "pg/secret.h"
#include "pg/secret_key.h"
#include "pg/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define MAX_NAME 128
#define MAX_VALUE (64 * 1024)
#define MAX_HOSTS 100
#define NAME_CHARACTERS \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-"

static bool
name_is_valid(const char *name)
{
	size_t		len = strlen(name);

	return len > 0 && len <= MAX_NAME && strspn(name, NAME_CHARACTERS) == len;
}

/* The name is not repeated: arguments that were exchanged make it the value. */
static void
check_name(const char *name)
{
	if (!name_is_valid(name))
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("invalid name for a secret"),
				errdetail("A name has 1 to %d letters, digits, and characters of \"_./-\".", MAX_NAME));
}

/* The message names no length: even that of a secret is nobody's business. */
static void
check_value(const text *value)
{
	if (VARSIZE_ANY_EXHDR(value) == 0 || VARSIZE_ANY_EXHDR(value) > MAX_VALUE)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("a secret must have between 1 and %d bytes", MAX_VALUE));
}

static void
check_hosts(ArrayType *hosts)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(hosts, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	if (n == 0 || n > MAX_HOSTS)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("a list of hosts must have between 1 and %d elements", MAX_HOSTS));
	for (int i = 0; i < n; i++)
	{
		char	   *host = nulls[i] ? "" : TextDatumGetCString(values[i]);

		if (host[0] == '\0' || strpbrk(host, "/@ ,\t\r\n") != NULL)
			ereport(ERROR,
					errcode(ERRCODE_RX_INVALID),
					errmsg("invalid host \"%s\" for a secret", host),
					errhint("Give host names (api.example.com), suffixes (*.example.com) or addresses, without scheme and port."));
	}
}

static bytea *
seal(const char *name, const text *value)
{
	size_t		len = VARSIZE_ANY_EXHDR(value);
	bytea	   *box = palloc(VARHDRSZ + len + RX_SECRETBOX_OVERHEAD);
	uint8		key[RX_SECRETBOX_KEY_SIZE];
	bool		sealed;

	SET_VARSIZE(box, VARHDRSZ + len + RX_SECRETBOX_OVERHEAD);
	rx_secret_key_read(key, true);
	sealed = rx_secretbox_seal(key, name, VARDATA_ANY(value), len, (uint8 *) VARDATA(box));
	explicit_bzero(key, sizeof(key));
	if (!sealed)
		elog(ERROR, "could not encrypt secret \"%s\"", name);
	return box;
}

static char *
unseal(const char *name, bytea *box)
{
	size_t		box_len = VARSIZE_ANY_EXHDR(box);
	size_t		room = box_len >= RX_SECRETBOX_OVERHEAD ? box_len - RX_SECRETBOX_OVERHEAD : 0;
	char	   *value = palloc0(room + 1);
	uint8		key[RX_SECRETBOX_KEY_SIZE];
	bool		opened;

	rx_secret_key_read(key, false);
	opened = rx_secretbox_open(key, name, (uint8 *) VARDATA_ANY(box), box_len, value);
	explicit_bzero(key, sizeof(key));
	if (!opened)
		ereport(ERROR,
				errcode(ERRCODE_CONFIG_FILE_ERROR),
				errmsg("could not decrypt secret \"%s\"", name),
				errdetail("It was encrypted with another key than that of the secret key file."),
				errhint("Restore the key file, or store the secret anew with reflex.set_secret."));
	return value;
}

static void
copy_hosts(Datum array, RxSecret *secret)
{
	Datum	   *values;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &values, NULL, &n);
	secret->hosts = palloc(n * sizeof(char *));
	secret->n_hosts = n;
	for (int i = 0; i < n; i++)
		secret->hosts[i] = TextDatumGetCString(values[i]);
}

static void
no_such_secret(const char *name)
{
	ereport(ERROR,
			errcode(ERRCODE_RX_NOT_FOUND),
			errmsg("secret \"%s\" does not exist", name),
			errhint("Store it with reflex.set_secret."));
}

void
rx_secret_load(const char *name, RxSecret *secret)
{
	static SPIPlanPtr plan;
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	RxSpi		spi;
	bytea	   *box;
	Datum		hosts;
	bool		no_hosts;

	memset(secret, 0, sizeof(*secret));
	rx_spi_open(&spi);
	if (rx_spi_exec_kept(&plan, "SELECT box, hosts FROM reflex_internal.secret WHERE name = $1",
						 1, types, values, NULL, SPI_OK_SELECT) == 0)
		no_such_secret(name);
	box = DatumGetByteaPP(rx_spi_get(0, 1, NULL));
	hosts = rx_spi_get(0, 2, &no_hosts);
	MemoryContextSwitchTo(context);
	secret->value = unseal(name, box);
	if (!no_hosts)
		copy_hosts(hosts, secret);
	rx_spi_close(&spi);
}

void
rx_secret_wipe(RxSecret *secret)
{
	if (secret->value)
		explicit_bzero(secret->value, strlen(secret->value));
	secret->value = NULL;
}

/* "*.example.com" stands for every name below example.com, not for itself. */
static bool
host_matches(const char *pattern, const char *host)
{
	size_t		host_len = strlen(host);
	size_t		len = strlen(pattern);

	if (strncmp(pattern, "*.", 2) != 0)
		return pg_strcasecmp(pattern, host) == 0;
	return host_len >= len && pg_strcasecmp(pattern + 1, host + host_len - (len - 1)) == 0;
}

bool
rx_secret_allows(const RxSecret *secret, const char *host)
{
	if (secret->hosts == NULL)
		return true;
	for (int i = 0; i < secret->n_hosts; i++)
		if (host_matches(secret->hosts[i], host))
			return true;
	return false;
}

/*
 * set_secret(name, value, hosts) - hosts null keeps those of before: changing
 * a value must not silently lift the limit on where it may go.
 */
REFLEX_FUNCTION(reflex_set_secret)
{
	char	   *name;
	RxSpi		spi;
	Oid			types[] = {TEXTOID, BYTEAOID, TEXTARRAYOID};
	Datum		values[3] = {0};
	char		nulls[] = "   ";

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("name and value of a secret must not be null"));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_name(name);
	check_value(PG_GETARG_TEXT_PP(1));
	if (PG_ARGISNULL(2))
		nulls[2] = 'n';
	else
	{
		check_hosts(PG_GETARG_ARRAYTYPE_P(2));
		values[2] = PG_GETARG_DATUM(2);
	}
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PointerGetDatum(seal(name, PG_GETARG_TEXT_PP(1)));
	rx_spi_open(&spi);
	rx_spi_exec("INSERT INTO reflex_internal.secret AS s (name, box, hosts) VALUES ($1, $2, $3)"
				" ON CONFLICT (name) DO UPDATE SET box = excluded.box, updated_at = now(),"
				" hosts = coalesce(excluded.hosts, s.hosts)",
				3, types, values, nulls, SPI_OK_INSERT);
	rx_spi_close(&spi);
	PG_RETURN_VOID();
}

/* drop_secret(name) */
REFLEX_FUNCTION(reflex_drop_secret)
{
	RxSpi		spi;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {PG_GETARG_DATUM(0)};

	rx_spi_open(&spi);
	if (rx_spi_exec("DELETE FROM reflex_internal.secret WHERE name = $1",
					1, types, values, NULL, SPI_OK_DELETE) == 0)
		no_such_secret(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	rx_spi_close(&spi);
	PG_RETURN_VOID();
}
