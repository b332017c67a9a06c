/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Who may sign what on this machine: the keys folder, and the policies that handed keys over since ("links").
 * Links are kept whole, each verified by the keys before it, so that nothing unsigned adds a key. Part of the
 * store (store.h). */
#include "policy/policy.h"
#include "trust/ring.h"

struct link {
        uint64_t serial;
        struct policy *policy;
};

struct keyring {
        char *folder; /* the links */
        struct trust_ring installed; /* the keys folder */
        unsigned floor[_TRUST_ROLE_MAX]; /* signatures that agent.ini demands */
        struct link links[TRUST_LINKS_MAX]; /* by serial */
        size_t n_links;
        bool read_only;
};

/* `floor` may be NULL. -EBADMSG a key or a link is malformed. */
int keyring_open(struct keyring *k, const char *keys_dir, const char *state_dir, const unsigned *floor,
                 struct diag *reterr);
void keyring_done(struct keyring *k);
/* The ring by which a policy of this serial was accepted; UINT64_MAX and the floors: for what comes now. */
void keyring_before(const struct keyring *k, uint64_t serial, struct trust_ring *ret);
void keyring_now(const struct keyring *k, struct trust_ring *ret);
uint64_t keyring_serial(const struct keyring *k); /* of the latest link, 0 none */

/* Would this policy hand over as it should? -EPERM, -E2BIG. */
int keyring_check(const struct keyring *k, const struct policy *p, const char *file, struct diag *reterr);
/* Keep a policy that was verified, if it hands over; copies what it needs. */
int keyring_keep(struct keyring *k, const struct policy *p, const struct trust_file *f);
/* Take the links that lie in a folder and follow those known; files that do not are passed over. */
int keyring_take(struct keyring *k, const char *folder, time_t now);
