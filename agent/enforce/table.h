/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The desired table as operations of one transaction:
 *   output:  flow4/flow6 -> flows; mark -> @channels; daddr -> @prefix4/6; QUIC
 *   forward: daddr -> @prefix4/6
 *   channel-ID: exemptions, counter, reject; only for channels that someone is blocked from
 *   flows: counter, reject
 * Pure. */
#include "agent/enforce/nft.h"
#include "agent/enforce/txn.h"

#define TABLE_CHAIN_MAX       64 /* "channel-" and an id of CHANNEL_ID_MAX */
#define TABLE_FLOW_KEY_MAX    44 /* protocol, address, port, address, port in 4-byte slots */
#define TABLE_FLOW_TIMEOUT_MS 60000

/* Replaces what is there: add, delete, add. -E2BIG a channel number does not fit the mark. */
int table_build(struct txn *t, const struct nft_options *o, const struct ruleset *r, struct diag *reterr);
void table_build_removal(struct txn *t, const char *table);
/* One element of flow4 or flow6. -EINVAL no flow. */
int table_build_flow(struct txn *t, const char *table, const struct fact_flow *f);
