/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* How far each destination is in each device's chain. On a connection of the caller's own: none of these belongs
 * to the loop's transaction. Errors: db.h. */
#include "collector/store/store.h"

#define FORWARD_NAME_MAX    32
#define FORWARD_PROBLEM_MAX 512

struct forward_place {
        int64_t device; /* store_device.number */
        uint64_t next; /* the first that was not forwarded */
        uint64_t end; /* behind the last that is kept */
};

/* Devices with more than the destination has got, in the order of numbers from behind `after`. Returns how many. */
int forward_places(struct db *db, const char *name, int64_t after, struct forward_place *ret, size_t max);
/* Records of [next, end), at most `max`, with their bytes; what is erased or purged is left out. */
int forward_rows(struct db *db, const struct forward_place *p, unsigned max, store_row_fn fn, void *userdata);
int forward_move(struct db *db, const char *name, const struct forward_place *p);

/* What collectors concluded, from p->next on, as rows of kind "finding": class is what is found, seq its number. Of
 * device FORWARD_FINDINGS; those of the last seconds are left out, since several collectors may be writing some. */
#define FORWARD_FINDINGS 0
int forward_findings(struct db *db, const char *name, struct forward_place *ret_place);
int forward_finding_rows(struct db *db, const struct forward_place *p, unsigned max, store_row_fn fn, void *userdata);

struct forward_state {
        char name[FORWARD_NAME_MAX];
        uint64_t sent, refused; /* records, ever */
        uint64_t sent_ms; /* when the latest was taken */
        char problem[FORWARD_PROBLEM_MAX]; /* "": none */
        uint64_t problem_ms; /* since when */
        uint64_t behind; /* records kept and not forwarded */
};
/* Adds sent and refused to what is there. */
int forward_state_put(struct db *db, const struct forward_state *add);
int forward_state_get(struct db *db, const char *name, struct forward_state *ret); /* all 0: never ran */
/* PostgreSQL: one of several collectors at a time, as long as the connection lasts. 1 ours, 0 somebody else's. */
int forward_lock(struct db *db, const char *name);
