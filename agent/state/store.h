/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The policy store: which policy and catalogue are in force, which were refused. Reads signed
 * files, keeps copies in the state folder, never applies anything. Runs as root.
 *
 * Order of trust: size limit, as many signatures over the raw bytes as are needed, serial >= the highest ever
 * accepted, INI pre-check, meaning. Whoever compiled and applied a candidate commits it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "agent/state/keyring.h"
#include "base/diag.h"
#include "catalogue/catalogue.h"
#include "policy/policy.h"
#include "trust/ring.h"

#define STORE_HASH_TEXT 65

/* A signed file whose signature held, with what was parsed out of it. */
struct stored {
        char *file; /* as named in diagnostics */
        char *text;
        size_t size;
        char *minisig;
        char hash[STORE_HASH_TEXT]; /* SHA-256 of the bytes, hex */
        char signer[TRUST_KEY_ID_TEXT]; /* the first of n_signers */
        unsigned n_signers;
        time_t signed_at; /* 0: the signature does not say */
        uint64_t serial;
        struct policy *policy; /* one of the two is set */
        struct catalogue *catalogue;
        struct catalogue *own; /* the channels that a policy brings along, or NULL */
};

struct stored *stored_free(struct stored *s); /* returns NULL */
static inline void stored_freep(struct stored **p)
{
        stored_free(*p);
}
#define _cleanup_stored_ _cleanup_(stored_freep)

enum store_role {
        STORE_POLICY,
        STORE_CATALOGUE,
        _STORE_ROLE_MAX,
};
const char *store_role_to_string(enum store_role r); /* "policy", "catalogue" */

struct store_options {
        const char *state_dir; /* policy/, catalogue/, incoming/ below it */
        const char *keys_dir;
        const char *catalogue; /* the installed one */
        time_t built; /* when the program was: it is not earlier than this */
        const unsigned *signatures; /* that agent.ini demands of each enum trust_role, or NULL */
        bool read_only; /* a check: neither makes folders nor finishes interrupted writes */
};

struct store {
        char *state_dir;
        char *installed_catalogue;
        bool read_only;
        struct keyring keyring;
        time_t built;
        bool numbers_damaged; /* one of the three that follow was no number, and was forgotten */
        uint64_t policy_serial; /* highest ever accepted, 0 none */
        uint64_t catalogue_serial; /* highest ever in force, 0 none */
        uint64_t signed_at; /* latest time that an accepted policy's signature names, 0 none */
        struct stored *policy; /* in force, or NULL */
        struct stored *catalogue;
};

/* Reads keys and serial. A role without a key accepts nothing.
 * -EBADMSG a key is malformed. */
int store_new(const struct store_options *o, struct store **ret, struct diag *reterr);
struct store *store_free(struct store *s); /* returns NULL */
static inline void store_freep(struct store **p)
{
        store_free(*p);
}
#define _cleanup_store_ _cleanup_(store_freep)

/* The policy that was in force when the agent ended. -ENOENT none was ever accepted. */
int store_load_policy(struct store *s, struct stored **ret, struct diag *reterr);
/* The newest valid one of the installed and the received catalogue. *reterr is also filled,
 * with a return of 0, when the received one had to be passed over. */
int store_load_catalogue(struct store *s, struct stored **ret, struct diag *reterr);

/* What lies in incoming/, after the policies in incoming/links/ that handed keys over. -ENOENT nothing, -EALREADY it is
 * the one in force, -ESTALE serial older or equal but different, -ETIME not_before lies in the future, other
 * errors as of trust_ring_verify() and the parsers. `clock`: the system's. */
int store_read_incoming(struct store *s, enum store_role role, time_t clock, struct stored **ret,
                        struct diag *reterr);
/* What time it is at least (trust_time()). */
time_t store_time(const struct store *s, time_t clock);
/* SHA-256 of incoming/ROLE.ini, also when it is refused; "" when it cannot be read. */
void store_hash_incoming(const struct store *s, enum store_role role, char ret[static STORE_HASH_TEXT]);

/* file_read() for a folder that another user owns: no link is followed. */
int store_read_plain(const char *path, size_t max, char **ret, size_t *ret_size);

/* The files of the policy in force as they should be? 0 yes, 1 they were written again. */
int store_mend(struct store *s);

/* Keep it on disk and in *s; takes `accepted`, also on failure. */
int store_commit(struct store *s, struct stored *accepted);
