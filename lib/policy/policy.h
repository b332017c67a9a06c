/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The policy that IT security signs: onchannel-policy(5). Owns its strings. Parsing does
 * no I/O and knows no catalogue; the compiler (rules/) checks channel names. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "base/diag.h"
#include "trust/ring.h"

#define POLICY_MAX_BYTES (1u << 20)
#define POLICY_FORMAT    1

enum verdict {
        VERDICT_ALLOW,
        VERDICT_WATCH, /* let through, report */
        VERDICT_BLOCK,
        _VERDICT_MAX,
};
const char *verdict_to_string(enum verdict v);
int verdict_from_string(const char *s, enum verdict *ret); /* -EINVAL */

enum policy_mode {
        POLICY_MODE_ENFORCE,
        POLICY_MODE_MONITOR, /* every block becomes watch */
        _POLICY_MODE_MAX,
};
enum quic_mode {
        QUIC_INSPECT,
        QUIC_BLOCK, /* reject UDP 443 so that browsers fall back to TCP */
        QUIC_ALLOW,
        _QUIC_MODE_MAX,
};
const char *policy_mode_to_string(enum policy_mode m);
const char *quic_mode_to_string(enum quic_mode m);

/* [group NAME]: the device is one of its devices or has one of its tags, and the user is one of its users or in one of
 * its unixgroups. Who names neither of a pair means all; one of the four is there. */
struct policy_group {
        char *name;
        char **devices; /* fnmatch patterns of the device name, NULL-terminated or NULL as all lists here */
        char **tags; /* words that agent.ini gives the device */
        char **users; /* login names */
        char **unixgroups; /* of the machine or its directory, by NSS */
        unsigned line;
};

struct policy_channel { /* [channel ID] */
        char *id;
        enum verdict verdict;
        char *group; /* NULL: everyone; else the verdict holds for this group only */
        char *archive; /* the archive that captures this approved channel, or NULL */
        char *reason;
        time_t until; /* 0: no end; afterwards as if the section were absent */
        unsigned line;
};

/* [trust]: what holds from this policy on, for all that come after it. */
struct policy_trust {
        char **next_keys, **next_catalogue_keys, **next_exemption_keys; /* base64, accepted besides those before */
        char **revoke_keys; /* "ID" or "ID TIME" */
        char **revoke_exemptions; /* ids */
        uint64_t policy_signatures, catalogue_signatures, exemption_signatures; /* needed; 0: as before */
};

struct policy {
        char *organisation;
        uint64_t serial;
        time_t not_before;
        time_t expires; /* afterwards it stays in force and coverage says "expired" */
        enum policy_mode mode;
        enum verdict unlisted;
        enum verdict bypass;
        unsigned unlisted_line, bypass_line; /* 0: not given */
        enum quic_mode quic;
        enum verdict programs; /* BLOCK or WATCH: may a program of a blocked channel start */
        char *notice;
        char *help; /* URL or NULL */
        struct policy_group *groups;
        size_t n_groups;
        struct policy_channel *channels;
        size_t n_channels;
        struct policy_trust trust;
        unsigned trust_line; /* of [trust]; 0 none */
        unsigned line; /* of [policy] */
};

struct policy *policy_free(struct policy *p); /* returns NULL */
static inline void policy_freep(struct policy **p)
{
        policy_free(*p);
}
#define _cleanup_policy_ _cleanup_(policy_freep)

/* The line from which on a policy holds the organisation's own channel files, as a built catalogue
 * does (catalogue_parse_own()): all of it is under the one signature. */
#define POLICY_FILES_MARK "[file]"

/* Parse a policy whose signature trust_verify() has accepted, up to POLICY_FILES_MARK. Channels keep the order of the
 * file; whether they exist is checked by the compiler. A group with neither device nor user is refused.
 * On failure *ret is untouched and *reterr says where.
 * -EBADMSG malformed or unknown key, -E2BIG over POLICY_MAX_BYTES, -ENOTUNIQ given twice,
 * -ENOENT a group that is not defined. */
int policy_parse(const char *text, size_t size, const char *file, struct policy **ret, struct diag *reterr);

/* The trusted comment that a policy's signature must carry: "onchannel policy serial=42
 * expires=2027-02-21T00:00:00Z"; free(). */
int policy_comment_new(const struct policy *p, char **ret);
/* -EBADMSG when the trusted comment does not agree with the file. */
int policy_comment_check(const struct policy *p, const char *comment, const char *file, struct diag *reterr);

/* Does it change who may sign, so that whoever missed it needs it? */
bool policy_hands_over(const struct policy *p);
/* What its [trust] section does to the ring. -E2BIG too many keys, -EPERM nobody could sign the next policy. */
int policy_hand_over(const struct policy *p, struct trust_ring *ring, const char *file, struct diag *reterr);
bool policy_revokes_exemption(const struct policy *p, const char *id);
