/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "base/io.h"
#include "collector/log/private.h"

static void wipe(char **text)
{
        if (*text)
                sodium_memzero(*text, strlen(*text));
        free(*text);
}

static int key_make(const char *path, const char *origin)
{
        char text[NOTE_SECRET_TEXT_MAX];
        int r;

        note_secret_new(origin, text);
        r = file_write_atomic(path, text, strlen(text), 0600);
        sodium_memzero(text, sizeof(text));
        return r;
}

int tlog_key_load(const char *path, const char *origin, struct note_key *ret,
                  uint8_t ret_secret[static NOTE_SECRET_SIZE], struct diag *reterr)
{
        _cleanup_(wipe) char *text = NULL;
        size_t size;
        int r = file_read(path, NOTE_SECRET_TEXT_MAX, &text, &size);

        if (r == -ENOENT) {
                r = key_make(path, origin);
                if (r == 0)
                        r = file_read(path, NOTE_SECRET_TEXT_MAX, &text, &size);
        }
        if (r < 0)
                return diag_set(reterr, r, path, 0, "the log's key cannot be read or made: %s", strerror(-r));
        if (note_secret_parse(text, NOTE_ED25519, ret, ret_secret) < 0)
                return diag_set(reterr, -EBADMSG, path, 1, "not a log's key");
        return 0;
}
