/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Inside of report/: who this device is, what a fact means, and the table that collapses
 * repeats. Only write.c writes records; journal.h keeps the table through a kill. */
#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>
#include "agent/report/report.h"

/* ---- identity.c ---- */

/* Read STATE/device.key or make it; write STATE/device.pub where that can be done. -EBADMSG when it is malformed. */
int device_key_load(const char *state_dir, uint8_t ret_public[static DEVICE_KEY_SIZE],
                    uint8_t ret_secret[static DEVICE_SECRET_SIZE]);
/* The same, also with a malformed one: it goes aside with its chain and what was acknowledged of that, since nobody could
 * seal it any more, and there is a new one. */
int device_key_take(const char *state_dir, uint8_t ret_public[static DEVICE_KEY_SIZE],
                    uint8_t ret_secret[static DEVICE_SECRET_SIZE], bool *ret_new);
/* The key's two files hold this key; 1: they did not and were written again. */
int device_key_mend(const char *state_dir, const uint8_t public[static DEVICE_KEY_SIZE],
                    const uint8_t secret[static DEVICE_SECRET_SIZE]);
#define OS_TEXT_MAX 128
void os_release_read(const char *path, char ret_name[static OS_TEXT_MAX], char ret_version[static OS_TEXT_MAX]);
#define USER_NAME_MAX 64
/* Local accounts only: the name service of a domain may wait for the network. "" unknown. */
void user_name(uint32_t uid, char ret[static USER_NAME_MAX]);

/* ---- describe.c ---- */

/* The texts that a violation made from a fact points to. */
struct description {
        char id[UUID_TEXT_MAX];
        char entry[320];
        char entry_source[320];
        char user[USER_NAME_MAX];
        char remote[INET6_ADDRSTRLEN];
};
/* 1 and *ret, 0 when the fact is no violation, -ESTALE when rs cannot explain it. Without id
 * and login name. */
int describe(const struct fact *f, const struct ruleset *rs, struct description *d, struct violation *ret);

/* ---- collapse.c ---- */

struct collected { /* one violation id; owns its strings */
        struct collected *next_in_bucket;
        struct collected *next_in_queue;
        uint64_t deadline_ms; /* CLOCK_MONOTONIC */
        uint64_t policy_serial;
        int slot, next_slot; /* of the journal, -1 none; of the one that it moves to */
        uint64_t seq; /* of the record that these attempts have become, perhaps not on the disk yet; 0 none */
        struct collected *next_unsealed; /* of those that have one */
        bool is_closed; /* further attempts are another violation's */
        uint64_t last_event_ns; /* CLOCK_BOOTTIME of the attempt that was counted last */
        uint64_t doubtful_event_ns; /* the same by an agent that was killed: counted, perhaps to be read again */
        struct violation violation; /* count: attempts that no sealed record stands for */
};

struct collected_queue { /* one constant delay, so the order of arrival is that of deadlines */
        struct collected *head, **tail;
        uint64_t delay_ms;
};

#define VIOLATION_TEXTS 17
extern const size_t violation_texts[VIOLATION_TEXTS]; /* where a struct violation has its texts */

struct journal;
#define COLLAPSE_BUCKETS 1024 /* power of two */
struct collapse {
        struct collected *buckets[COLLAPSE_BUCKETS];
        struct collected_queue settling; /* nothing written yet */
        struct collected_queue window; /* written, further attempts are counted */
        struct collected *unsealed;
        size_t n;
        struct journal *journal; /* borrowed, or NULL: forgets what is forgotten here */
        bool is_refused; /* what was handed over last was not taken */
};

void collapse_init(struct collapse *c, uint64_t settle_ms, uint64_t window_ms);
struct collected *collapse_find(const struct collapse *c, const struct violation *v);
size_t collapse_count(const struct collapse *c, uint32_t uid); /* of this person */
/* Copies v. -ENOMEM, or -ENOSPC when REPORT_OPEN_MAX are collected. */
int collapse_add(struct collapse *c, const struct violation *v, uint64_t now_ms, struct collected **ret);
/* The earliest deadline, or UINT64_MAX. */
uint64_t collapse_deadline(const struct collapse *c);
/* Makes a record of its attempts: collapse_recorded(), or it has none any more. Negative: not now, it is handed over again. */
typedef int (*collapse_handler)(struct collected *, void *userdata);
/* Hands over each whose time has come and that has attempts to report; a settled one then
 * waits for its window to close. Stops at the handler's first error, and returns it. */
int collapse_expire(struct collapse *c, uint64_t now_ms, collapse_handler handler, void *userdata);
/* The same for all, which are closed then, and their time is over. */
void collapse_flush(struct collapse *c, collapse_handler handler, void *userdata);
/* e's attempts are the record `seq`, which is not sealed. */
void collapse_recorded(struct collapse *c, struct collected *e, uint64_t seq);
/* Forgets those whose window closed and whose attempts all have their record. */
void collapse_tidy(struct collapse *c, uint64_t now_ms);
/* How many wait for the handler to take them. */
uint64_t collapse_overdue(const struct collapse *c, uint64_t now_ms);
/* Frees what is left; the journal keeps it. */
void collapse_done(struct collapse *c);
