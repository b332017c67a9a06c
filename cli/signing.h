/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Signing a file, for every kind of file that is signed. */
#include <time.h>
#include "cli/cli.h"

struct signing {
        const char *file; /* FILE.minisig is written beside it */
        const char *key; /* of the secret key */
        const void *data;
        size_t size;
        const char *what; /* the trusted comment, before " signed=TIME" */
        time_t until; /* when the file ends: a later clock is not believed; 0 it does not */
        bool add; /* to the signatures that are there */
        bool write_data; /* FILE itself as well, after the signature */
};
/* STATUS_*; the comment is free()d by the caller. */
int sign_file(const struct cli *c, const struct signing *s, char **ret_comment);
