/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Attempts that no record stands for yet, on disk: an agent that is killed loses and doubles none of them.
 * A file of slots, one for each violation that is collected. It is not synced: a power cut may
 * take the latest. In the byte order of this machine; one thread. */
#include <stdint.h>
#include "agent/report/internal.h"

#define JOURNAL_SLOT_BYTES 8192

struct journal;

/* The file is made when it is missing. */
int journal_open(const char *path, struct journal **ret);
struct journal *journal_free(struct journal *j); /* NULL is fine; returns NULL */

/* A slot for e; -1 when it has no room, its path is too long, or the disk is full. j may be NULL here and below. */
int journal_add(struct journal *j, const struct collected *e);
/* e's count and times have changed, or its attempts have become a record. */
void journal_update(struct journal *j, const struct collected *e);
/* e's attempts become the record `seq` now: when that exists after a kill, they are reported. */
void journal_commit(struct journal *j, const struct collected *e, uint64_t seq);
void journal_forget(struct journal *j, int slot);

/* Of each slot that an agent left behind; v->count is 0 when a record stands for all. v and its texts
 * are valid during the call. The slot is free after a negative answer. */
typedef int (*journal_handler)(const struct violation *v, uint64_t policy_serial, int slot, void *userdata);
/* next_seq: of the spool. */
void journal_restore(struct journal *j, uint64_t next_seq, journal_handler handler, void *userdata);

/* -EBADMSG. v's texts point into `bytes`. */
int journal_slot_parse(const uint8_t *bytes, size_t size, struct violation *ret, uint64_t *ret_policy_serial,
                       uint64_t *ret_seq);
