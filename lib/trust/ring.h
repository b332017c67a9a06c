/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Who may sign what, and when: the keys of each role, how many signatures a file of that role needs, which
 * keys are revoked, what time it is at least, and in which order files may follow one another. Everything that
 * decides about a signed file before it is parsed stands here. Pure: no I/O, no clock, no logging. */
#include "trust/trust.h"

#include <time.h>

enum trust_role {
        TRUST_ROLE_POLICY,
        TRUST_ROLE_CATALOGUE,
        TRUST_ROLE_EXEMPTION,
        _TRUST_ROLE_MAX,
};
const char *trust_role_to_string(enum trust_role r); /* "policy"; also the name of its key file */

#define TRUST_KEYS_MAX    16 /* of one role */
#define TRUST_REVOKED_MAX 64
#define TRUST_LINKS_MAX   16 /* policies that hand keys over, kept for those who missed them */

struct trust_revoked {
        uint8_t id[8];
        time_t from; /* 0: at all times */
};

/* Plain value; all zero is a ring without keys, which accepts nothing. */
struct trust_ring {
        struct trust_key keys[_TRUST_ROLE_MAX][TRUST_KEYS_MAX];
        size_t n_keys[_TRUST_ROLE_MAX];
        unsigned signatures[_TRUST_ROLE_MAX]; /* that a file needs, by different keys; 0 counts as 1 */
        struct trust_revoked revoked[TRUST_REVOKED_MAX];
        size_t n_revoked;
};

/* A key that is there already changes nothing. -E2BIG too many. */
int trust_ring_add(struct trust_ring *ring, enum trust_role role, const struct trust_key *key);
/* Of two revocations of one key the earlier counts. -E2BIG too many. */
int trust_ring_revoke(struct trust_ring *ring, const uint8_t id[static 8], time_t from);
/* In any role, at the time `now`. */
bool trust_ring_is_revoked(const struct trust_ring *ring, const uint8_t id[static 8], time_t now);
unsigned trust_ring_needs(const struct trust_ring *ring, enum trust_role role); /* signatures, at least 1 */
/* Of a role's keys that are not revoked, has it enough for its signatures? */
bool trust_ring_can_sign(const struct trust_ring *ring, enum trust_role role, time_t now);

/* What a file that is signed by enough keys of its role says. */
struct trust_verdict {
        char signer[TRUST_KEY_ID_TEXT]; /* of the first signature that counts */
        unsigned n_signers;
        char comment[TRUST_COMMENT_MAX]; /* the trusted comment without " signed=…"; the same in all that count */
        time_t signed_at; /* the latest that the signatures name; 0: none does */
};

/* Signatures by keys that the ring does not know do not count, nor does a second one by the same key.
 * -EBADMSG malformed, -EKEYREJECTED a signature by a known key is wrong, -ENOKEY no key of the role, revoked, or of
 * another role, -EUSERS fewer signatures than the role needs, -EINVAL comments that differ. */
int trust_ring_verify(const struct trust_ring *ring, enum trust_role role, const struct trust_file *f, time_t now,
                      struct trust_verdict *ret, struct diag *reterr);

/* The time is not before any of these: the program was built, a signature that was accepted was made, the
 * system's clock says so. A clock that is wrong ahead is believed, one that is wrong behind is not. */
time_t trust_time(time_t built, time_t signed_at, time_t clock);

/* May a file follow what was accepted before? */
struct trust_order {
        uint64_t serial;
        const char *hash;
        uint64_t floor; /* the highest serial ever accepted, 0 none */
        uint64_t held_serial; /* in force; 0 nothing is */
        const char *held_hash;
};
/* -ESTALE older, or the same serial with other contents; -EALREADY it is the one in force. */
int trust_order_check(const struct trust_order *o, const char *file, struct diag *reterr);
