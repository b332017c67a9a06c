/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The database against itself: entries, tiles and checkpoints of the logs, seals, records and what they are searched
 * by, the audit table. Reads only; says for each thing that does not fit which and why. */
#include "collector/store/purges.h"
#include "collector/store/store.h"

struct check {
        struct db *db;
        void (*found)(const char *text, void *userdata); /* one sentence */
        void *userdata;
        uint64_t entries, batches, records, erased, gone, audits, problems; /* gone: not kept any more */
};
/* What the audit trail says retention removed. */
struct check_purges {
        int64_t months[STORE_MONTHS_MAX]; /* removed whole */
        size_t n_months;
        struct batches gone, held; /* of all its lines */
};
/* Negative: the database could not be read; problems are no failure. */
int check_database(struct check *c);
/* ---- of its halves only ---- */
void check_problem(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
int check_logs(struct check *c);
int check_audit(struct check *c);
int check_devices(struct check *c);
int check_purges_read(struct check *c, struct check_purges *ret);
bool check_purges_has(const struct check_purges *p, int64_t month);
