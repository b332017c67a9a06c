/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Owns the nftables table `inet NAME`. Runs as root. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/fact.h"
#include "base/diag.h"
#include "rules/rules.h"

struct nft_options {
        const char *table; /* "onchannel" */
        uint32_t mark_mask; /* e.g. 0x3ff00000; the channel number stands in these bits */
        bool flows; /* with flow4 and flow6, where sockets cannot be ended; each packet pays for it */
};

struct nft; /* a netlink socket and the options */
int nft_new(const struct nft_options *o, struct nft **ret);
struct nft *nft_free(struct nft *n); /* leaves the table in place */

/* Is nf_tables there? 0, or -EOPNOTSUPP/-EPERM and one sentence what is missing. */
int nft_check(char *ret_reason, size_t size);
/* Make the table carry out r; at each moment either the old or the new rules hold. Of another policy
 * of the same catalogue only the rules go to the kernel, unless somebody else has touched the table.
 * *reterr.text names the failing operation. */
int nft_apply(struct nft *n, const struct ruleset *r, struct diag *reterr);
/* Later, with the rule set of the last nft_apply(): remove what that left for packets that were on
 * their way, and wait for them. -ERESTART somebody changed nftables meanwhile: once more, some time. */
int nft_tidy(struct nft *n, const struct ruleset *r);
/* The table is not as it should be: the next nft_apply() replaces all of it. */
void nft_distrust(struct nft *n);
/* Remove the table; no error when it is absent. */
int nft_remove(struct nft *n);
/* Put a flow into flow4/flow6 for 60 s: its next packet is answered by a TCP reset.
 * -EOPNOTSUPP the options say that there are none. */
int nft_add_flow(struct nft *n, const struct fact_flow *f);
/* SHA-256 (hex) over the live table's chains, rules, sets and elements, without counters,
 * handles, timed flows and what came first; -ENOENT when the table is gone. */
int nft_hash(struct nft *n, char ret_hex[static 65]);
/* Subscribe to NFNLGRP_NFTABLES; poll nft_monitor_fd(), then nft_monitor_read() tells whether
 * somebody else changed our table (*ret_changed). Then nft_apply(): what is still queued is not told. */
int nft_monitor_fd(struct nft *n);
int nft_monitor_read(struct nft *n, bool *ret_changed);
/* The bytes of the transaction for a rule set (golden file in unit tests); free(). */
int nft_encode(const struct nft_options *o, const struct ruleset *r, uint8_t **ret, size_t *ret_size,
               struct diag *reterr);
