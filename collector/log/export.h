/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Makes an evidence bundle piece by piece, over a database connection of its own, so that nothing waits for it and
 * memory holds one batch at a time. */
#include "collector/log/log.h"

struct export;
struct export_options {
        const char *where; /* the database, as store_open() takes it */
        const struct note_key *key; /* of this collector's log, which signs the end */
        const uint8_t *secret;
        const struct store_filter *filter; /* limit and cursor are not read; copied */
        uint64_t now_ms;
        const bool *stop; /* db_stop_on() */
};
/* -ENOENT this log has no checkpoint yet, or there is no device of the name. */
int export_open(const struct export_options *o, struct export **ret, struct diag *reterr);
struct export *export_free(struct export *e);
DEFINE_CLEANUP(struct export, export_free)
/* Appends the next piece: 1 there is more, 0 that was all. */
int export_more(struct export *e, struct buf *out);
