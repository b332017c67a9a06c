/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The desired table as operations of a transaction:
 *   output:  mark -> @channels; daddr -> @top4/6 -> @prefix4/6; QUIC; flow4/flow6 -> refuse
 *   forward: daddr -> @top4/6 -> @prefix4/6
 *   channel-ID: for each channel; exemptions, counter, goto refuse; empty when nobody is blocked
 *   refuse
 * Chains and maps depend on the catalogue alone, the sets of users and all rules on the policy.
 * Pure. */
#include "agent/enforce/dump.h"
#include "agent/enforce/nft.h"
#include "agent/enforce/txn.h"

#define TABLE_CHANNEL_CHAIN   "channel-"
#define TABLE_NAME_MAX        64 /* TABLE_CHANNEL_CHAIN and an id of CHANNEL_ID_MAX */
#define TABLE_FLOW_KEY_MAX    44 /* protocol, address, port, address, port in 4-byte slots */
#define TABLE_FLOW_TIMEOUT_MS 60000
#define TABLE_HASH_SIZE       32

/* Maps and sets are called NAME-VERSION. */
struct table_spec {
        const struct nft_options *options;
        const struct ruleset *rules;
        unsigned maps_version;
        unsigned users_version;
};

/* Every channel number fits the mark. 0 or -E2BIG. */
int table_check(const struct table_spec *s, struct diag *reterr);
/* All of it, in the place of what is there: add, delete, add. */
void table_build(struct txn *t, const struct table_spec *s);
void table_build_removal(struct txn *t, const char *table);
/* All of it beside what is there, in three transactions. A new interval set shows its elements only
 * after the new rules hold (Linux 6.18), and a packet that is on its way by the old rules does not
 * find the elements of a set that has been deleted. So first the maps, which no rule uses yet; then the
 * rules, in the place of all others; and when no packet is on its way any more, away with what `old`
 * lists and is not in force: the chains and maps of another catalogue, the sets of another policy. */
void table_build_catalogue(struct txn *t, const struct table_spec *s);
void table_build_policy(struct txn *t, const struct table_spec *s);
/* False: there is nothing to do. Without s->rules the chains stay. */
bool table_build_tidy(struct txn *t, const struct table_spec *s, const struct table_names *old);
/* Of what table_build_catalogue() makes. */
void table_hash(const struct table_spec *s, uint8_t ret[static TABLE_HASH_SIZE]);
/* Length of a set's name without its version; of another name all of it. */
size_t table_set_name_size(const char *name);
/* One that no set in `names` has. -EMLINK there is none. */
int table_free_version(const struct table_names *names, unsigned *ret);
/* One element of flow4 or flow6. -EINVAL no flow. */
int table_build_flow(struct txn *t, const struct table_spec *s, const struct fact_flow *f);
