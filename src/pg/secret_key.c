/*
 * secret_key.c
 *		The key that secrets are encrypted with, kept in a file.
 *
 * The file is reflex.secret_key_file or, by default, reflex.key in the data
 * directory: 64 hexadecimal digits and a line feed.  It lies outside the
 * database, so that a dump or a stolen table tells nothing; a copy of the whole
 * data directory carries both, and whoever minds that sets the path elsewhere.
 *
 * Who makes the default file writes it whole under another name and links it
 * into place: of two that do so at once one wins, and nobody ever reads half a
 * key.  A configured path is never created, because a missing mount must not
 * look like a fresh start.
 */
#include "reflex.h"

#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/secret_key.h"
#include "storage/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The server's working directory is the data directory. */
#define DEFAULT_PATH "reflex.key"
#define HEX_SIZE (2 * RX_SECRETBOX_KEY_SIZE)

static void
refuse_key_file(const char *path, const char *detail, const char *hint)
{
	ereport(ERROR,
			errcode(ERRCODE_CONFIG_FILE_ERROR),
			errmsg("secret key file \"%s\" is not usable", path),
			errdetail_internal("%s", detail),
			errhint("%s", hint));
}

/* The rules are those that the server has for the private key of its own TLS. */
static void
check_key_file(const char *path, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		refuse_key_file(path, "It is not a regular file.",
						"Set reflex.secret_key_file to a file with 64 hexadecimal digits.");
	if (st->st_uid != geteuid() && st->st_uid != 0)
		refuse_key_file(path, "It belongs neither to the user that runs the server nor to root.",
						"Change the owner of the file.");
	if ((st->st_uid == geteuid() && (st->st_mode & (S_IRWXG | S_IRWXO))) ||
		(st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO))))
		refuse_key_file(path, "Its permissions let others read or change it.",
						"Use mode 0600, or 0640 if the file belongs to root.");
	if (st->st_size != HEX_SIZE && st->st_size != HEX_SIZE + 1)
		refuse_key_file(path, "Its size is not that of a key.",
						"The file must hold 64 hexadecimal digits and nothing else; openssl rand -hex 32 makes such a key.");
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
parse_key(const char *hex, uint8 *key)
{
	for (int i = 0; i < RX_SECRETBOX_KEY_SIZE; i++)
	{
		int			high = hex_digit(hex[2 * i]);
		int			low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		key[i] = (uint8) (high << 4 | low);
	}
	return true;
}

/*
 * False when there is no such file.  O_NONBLOCK because opening a pipe would
 * wait for its writer before anybody could look what it is.
 */
static bool
read_key_file(const char *path, uint8 *key)
{
	char		hex[HEX_SIZE];
	struct stat st;
	bool		good;
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0 && errno == ENOENT)
		return false;
	if (fd < 0 || fstat(fd, &st) != 0)
		ereport(ERROR,
				errcode_for_file_access(),
				errmsg("could not open secret key file \"%s\": %m", path));
	check_key_file(path, &st);
	good = read(fd, hex, sizeof(hex)) == sizeof(hex) && parse_key(hex, key);
	explicit_bzero(hex, sizeof(hex));
	CloseTransientFile(fd);
	if (!good)
		refuse_key_file(path, "It does not consist of hexadecimal digits.",
						"openssl rand -hex 32 makes such a key.");
	return true;
}

static bool
write_new_key(const char *path)
{
	uint8		key[RX_SECRETBOX_KEY_SIZE];
	char		hex[HEX_SIZE + 2];
	bool		written;
	int			fd = OpenTransientFilePerm(path, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY, S_IRUSR | S_IWUSR);

	if (fd < 0)
		return false;
	if (!rx_secretbox_random(key, sizeof(key)))
		elog(ERROR, "could not generate a key");
	for (int i = 0; i < RX_SECRETBOX_KEY_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", key[i]);
	hex[HEX_SIZE] = '\n';
	written = write(fd, hex, HEX_SIZE + 1) == HEX_SIZE + 1 && pg_fsync(fd) == 0;
	explicit_bzero(key, sizeof(key));
	explicit_bzero(hex, sizeof(hex));
	return CloseTransientFile(fd) == 0 && written;
}

static void
create_default_key(void)
{
	char		temporary[MAXPGPATH];
	bool		made;
	int			save_errno;

	snprintf(temporary, sizeof(temporary), "%s.%d.tmp", DEFAULT_PATH, MyProcPid);
	(void) unlink(temporary);	/* of a process that had our number and died */
	made = write_new_key(temporary) &&
		(link(temporary, DEFAULT_PATH) == 0 || errno == EEXIST);
	save_errno = errno;
	(void) unlink(temporary);
	errno = save_errno;
	if (!made)
		ereport(ERROR,
				errcode_for_file_access(),
				errmsg("could not create secret key file \"%s\": %m", DEFAULT_PATH));
	fsync_fname(".", true);
}

void
rx_secret_key_read(uint8 key[RX_SECRETBOX_KEY_SIZE], bool may_create)
{
	bool		is_default = rx_guc_secret_key_file[0] == '\0';
	const char *path = is_default ? DEFAULT_PATH : rx_guc_secret_key_file;

	if (read_key_file(path, key))
		return;
	if (is_default && may_create)
	{
		create_default_key();
		if (read_key_file(path, key))
			return;
	}
	ereport(ERROR,
			errcode(ERRCODE_CONFIG_FILE_ERROR),
			errmsg("secret key file \"%s\" does not exist", path),
			is_default
			? errhint("Restore the file from a backup, or store the secrets anew with reflex.set_secret.")
			: errhint("Put the key there, or make one with: openssl rand -hex 32. reflex creates only the default file."));
}
