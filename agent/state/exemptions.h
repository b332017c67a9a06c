/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The exemptions, break-glass tokens and revocations of this device: which are held, which are in force, what is left
 * of each, which ids have ended for ever. Reads signed files, keeps copies and a ledger in STATE/exemptions. Runs as
 * root; no clock, no logging, no timers: whoever calls says what time it is. */
#include "base/diag.h"
#include "policy/exemption.h"
#include "policy/term.h"
#include "trust/ring.h"

#define LEDGER_MAX       2048 /* ids remembered; beyond, those forgotten whose end is the longest ago */
#define LEDGER_BOOT_TEXT 37

struct ledger_entry {
        char id[EXEMPTION_ID_MAX + 1];
        struct term term;
        char boot[LEDGER_BOOT_TEXT]; /* boot id of term.seen_s */
};

struct held {
        struct exemption *exemption; /* never a revocation */
        struct ledger_entry *entry;
        char *text, *minisig;
        size_t size;
        time_t signed_at;
        char signer[TRUST_KEY_ID_TEXT];
};

struct exemptions_options {
        const char *state_dir;
        const char *device_name, *device_id;
        const char *boot_id;
};

/* What happened to one, for whoever tells. Borrowed. */
enum exemptions_event { EXEMPTIONS_BEGAN, EXEMPTIONS_ENDED, EXEMPTIONS_REVOKED };
typedef void (*exemptions_handler)(enum exemptions_event event, const struct held *h, void *userdata);

struct exemptions {
        char *folder;
        char *device_name, *device_id;
        char boot[LEDGER_BOOT_TEXT];
        struct held list[EXEMPTIONS_MAX];
        size_t n;
        struct ledger_entry *ledger[LEDGER_MAX];
        size_t n_ledger;
        exemptions_handler handler;
        void *userdata;
};

/* Reads the ledger only: nothing is held before exemptions_load(). -EBADMSG the ledger is malformed. */
int exemptions_new(const struct exemptions_options *o, struct exemptions **ret, struct diag *reterr);
struct exemptions *exemptions_free(struct exemptions *x);

/* What the state folder holds, and then whatever in `folder` is for this device. `refused` is called for each file there that
 * is not taken, but for what is held, has ended, or is for another device. */
typedef void (*exemptions_refused)(const struct diag *d, void *userdata);
void exemptions_load(struct exemptions *x, const struct trust_ring *ring, const struct term_clock *c);
void exemptions_take_folder(struct exemptions *x, const char *folder, const struct trust_ring *ring,
                            const struct term_clock *c, exemptions_refused refused);
/* One signed file. 0 taken, -EALREADY held as it is, -ENODEV for another device, -ESTALE ended or revoked,
 * -EEXIST the id names another one, -ENOSPC too many, else as trust_ring_verify() and exemption_parse(). */
int exemptions_take(struct exemptions *x, const struct trust_ring *ring, const struct trust_file *f,
                    const struct term_clock *c, struct diag *reterr);
/* Ends what this policy key or id makes void: after a policy has changed. */
void exemptions_recheck(struct exemptions *x, const struct trust_ring *ring, const struct term_clock *c);
void exemptions_revoke(struct exemptions *x, const char *id, const struct term_clock *c);

/* Bring all up to date; the handler hears of each that began or ended. True: what is in force has changed. */
bool exemptions_update(struct exemptions *x, const struct term_clock *c);
/* Write the ledger. */
int exemptions_save(const struct exemptions *x);
/* When exemptions_update() is next of use: seconds from now by CLOCK_BOOTTIME, and a wall time; 0 never. */
void exemptions_next(const struct exemptions *x, uint64_t *ret_in_s, time_t *ret_at);
static inline bool held_is_in_force(const struct held *h)
{
        return h->entry->term.state == TERM_IN_FORCE;
}
/* The break-glass token in force that lasts longest, or NULL. */
const struct held *exemptions_glass(const struct exemptions *x);
