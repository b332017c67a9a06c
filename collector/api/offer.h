/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Signed files on their way to agents, and which agents get which. A file is kept with its signature as
 * {"file":text,"minisig":text}; its shape is checked here, trust is the agents' affair: the collector has no key, so a
 * ring's trial in mode monitor is a policy of its own, and the way back as well, signed before the rollout starts. */
#include <jansson.h>
#include "collector/store/store.h"
#include "policy/exemption.h"

#define OFFER_POLICY    "policy" /* for everyone */
#define OFFER_CATALOGUE "catalogue"
#define OFFER_RING      "ring" /* a rollout's policy */
#define OFFER_BACK      "back" /* what ends it: the rules of before under a higher serial */
#define OFFER_ROLLOUT   "rollout" /* struct rollout */
#define OFFER_LINK      "link:" /* and the serial: policies that change keys */
#define OFFER_EXEMPTION "exemption:" /* and the id */
#define OFFER_LINKS_MAX 16

#define OFFER_POLICY_MAX    (1u << 20) /* as agents take it */
#define OFFER_FILE_MAX      (64u << 20)
#define OFFER_SIGNATURE_MAX (16u << 10)

struct offer {
        char *json; /* as kept */
        uint64_t serial; /* policy, catalogue: as the trusted comment has it */
        bool has_trust; /* policy: it changes keys */
        struct exemption *exemption; /* exemption */
};
void offer_done(struct offer *o);
/* Reads FILE and FILE.minisig. `part`: OFFER_POLICY, OFFER_CATALOGUE or OFFER_EXEMPTION. -EBADMSG, -EFBIG. */
int offer_read(const char *part, const char *file, struct offer *ret, struct diag *reterr);
/* The same from memory; `name` is for diagnostics. -EBADMSG, -E2BIG. */
struct offer_texts {
        const char *name, *text, *signature;
        size_t size, signature_size;
};
int offer_make(const char *part, const struct offer_texts *t, struct offer *ret, struct diag *reterr);
/* A signed file that is kept under a part (free()), and its serial, 0 unknown; -ENOENT. */
int offer_kept(struct store *s, const char *part, char **ret_json, uint64_t *ret_serial);

#define ROLLOUT_PATTERNS_MAX 16
struct rollout {
        uint64_t serial, back, base; /* of the ring's policy, of the way back, of everyone else's (0: none) */
        unsigned per_mille; /* share of all devices */
        char *patterns[ROLLOUT_PATTERNS_MAX]; /* and those with such a name */
        size_t n_patterns;
        uint64_t since_ms;
};
void rollout_done(struct rollout *r);
int rollout_parse(const char *json, struct rollout *ret); /* -EBADMSG */
char *rollout_format(const struct rollout *r); /* free() */
/* A share is of a hash of the id: it is the same devices each time, and a larger one has the smaller one's in it. */
bool rollout_has(const struct rollout *r, const char *id, const char *name);

json_t *rollout_json(const struct rollout *r); /* a new reference: what rollout_format() has */

/* How it goes, on the reader's connection; a new reference: what rollout_format() has, and of the devices in the ring and
 * of the others {"ring":STAGE,"others":STAGE}: {"serial","devices","applied","waiting","silent","refused":[{"reason",
 * "devices":[names]}],"violations":{"blocked","would_block"} or null when that takes too long to count}. Silent: has not
 * applied it and was not heard of for SILENT_MS. `kept` may be NULL: there is no rollout, all are others. */
#define SILENT_MS (15 * 60 * 1000ull) /* agents wait at most five minutes for a policy, then ask again */
struct rollout_kept {
        const char *json; /* what is kept under OFFER_ROLLOUT */
        uint64_t serial; /* of everyone's policy; 0: there is none */
};
int rollout_report(struct store *s, const struct rollout_kept *kept, json_t **ret);
