/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Owns the nftables table `inet NAME`: desired state in, one transaction out. Runs as root. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/fact.h"
#include "base/diag.h"
#include "rules/rules.h"

struct nft_options {
        const char *table; /* "onchannel" */
        uint32_t mark_mask; /* e.g. 0x3ff00000; the channel number stands in these bits */
};

struct nft; /* a netlink socket and the options */
int nft_new(const struct nft_options *o, struct nft **ret);
struct nft *nft_free(struct nft *n); /* leaves the table in place */

/* Is nf_tables there? 0, or -EOPNOTSUPP/-EPERM and one sentence what is missing. */
int nft_check(char *ret_reason, size_t size);
/* Replace the table by one that carries out r, in one transaction (add, delete, add: no packet
 * sees neither). *reterr.text names the failing operation. */
int nft_apply(struct nft *n, const struct ruleset *r, struct diag *reterr);
/* Remove the table; no error when it is absent. */
int nft_remove(struct nft *n);
/* Put a flow into flow4/flow6 for 60 s: its next packet is answered by a TCP reset. */
int nft_add_flow(struct nft *n, const struct fact_flow *f);
/* SHA-256 (hex) over the live table's chains, rules, sets and elements, without counters,
 * handles and timed flows; -ENOENT when the table is gone. */
int nft_hash(struct nft *n, char ret_hex[static 65]);
/* Subscribe to NFNLGRP_NFTABLES; poll nft_monitor_fd(), then nft_monitor_read() tells whether
 * somebody else changed our table (*ret_changed). */
int nft_monitor_fd(struct nft *n);
int nft_monitor_read(struct nft *n, bool *ret_changed);
/* The bytes of the transaction for a rule set (golden file in unit tests); free(). */
int nft_encode(const struct nft_options *o, const struct ruleset *r, uint8_t **ret, size_t *ret_size,
               struct diag *reterr);
