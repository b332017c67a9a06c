/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Attempts that no record stands for yet, on disk: an agent that is killed loses and doubles none of them.
 * A file of slots, one for each violation that is collected, behind a page that counts what has none or was lost. Not
 * synced but by journal_sync(): a power cut takes what came since. In the byte order of this machine; one thread. */
#include <stdint.h>
#include "agent/report/internal.h"

#define JOURNAL_SLOT_BYTES 8192

struct journal;

/* The file is made when it is missing. On a read-only file system what is there can be read. */
int journal_open(const char *path, struct journal **ret);
struct journal *journal_free(struct journal *j); /* NULL is fine; returns NULL */
/* Found when it was opened, or when something was written or synced. */
bool journal_is_read_only(const struct journal *j);
int journal_sync(struct journal *j); /* fdatasync(2) when something was written; NULL is fine */

/* A slot for e; -1 when it has no room, its path is too long, or the disk is full. j may be NULL here and below. */
int journal_add(struct journal *j, const struct collected *e);
/* e's count, times or record have changed. */
void journal_update(struct journal *j, const struct collected *e);
void journal_forget(struct journal *j, int slot);

/* Attempts that no slot stands for. The page is there from the beginning, so that it is written on a full disk, too. */
struct journal_losses {
        uint64_t refused, unresolved; /* as in the next coverage record */
        uint64_t unkept; /* only memory knows them: lost with the agent */
};
/* told: of these the record `seq` tells from now on; when that exists after a kill, they are taken off. May be NULL. False:
 * the disk does not take it. */
bool journal_put_losses(struct journal *j, const struct journal_losses *l, const struct journal_losses *told,
                        uint64_t seq);
/* What an agent left behind; what was unkept is refused now. */
void journal_get_losses(struct journal *j, uint64_t next_seq, struct journal_losses *ret);

struct journal_slot {
        struct violation violation; /* count is 0 when a record stands for all */
        uint64_t policy_serial;
        uint64_t last_event_ns; /* CLOCK_BOOTTIME of the attempt counted last */
        uint64_t seq; /* of the record that these attempts become, 0 none yet: when it exists, they are reported */
};

/* Of each slot that an agent left behind; the texts are valid during the call. The slot is free after a negative
 * answer. */
typedef int (*journal_handler)(const struct journal_slot *s, int slot, void *userdata);
void journal_restore(struct journal *j, journal_handler handler, void *userdata);

/* -EBADMSG. The texts point into `bytes`. */
int journal_slot_parse(const uint8_t *bytes, size_t size, struct journal_slot *ret);
