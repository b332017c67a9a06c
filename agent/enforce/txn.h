/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One nftables transaction: operations are added to one buffer, go to the kernel in one
 * sendmsg and take effect together or not at all. Sticky error: the first failed add makes
 * the rest no-ops, one check at the end. Owns the buffer. */
#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/diag.h"

#define TXN_MESSAGE_MAX  (64u << 10) /* one operation; a netlink attribute's length has 16 bits */
#define TXN_ELEMENTS_MAX 500 /* set elements in one operation */

struct txn {
        uint8_t *data;
        size_t size; /* of the finished messages */
        size_t allocated;
        struct nlmsghdr *open; /* the message being filled */
        uint32_t sequence; /* of NFNL_MSG_BATCH_BEGIN; operation n has sequence + n, from 1 */
        uint32_t n_ops;
        int error;
};

/* -ENOMEM */
int txn_begin(struct txn *t, uint32_t sequence);
void txn_done(struct txn *t);
/* Right after txn_begin(): refused with -ERESTART when the tables have another generation by then. */
void txn_expect(struct txn *t, uint32_t generation);
#define _cleanup_txn_ _cleanup_(txn_done)

/* Start operation `type` (NFT_MSG_*) on family inet. The header may be filled with up to
 * TXN_MESSAGE_MAX bytes until the next call; never NULL, a scratch area after a failure. */
struct nlmsghdr *txn_add(struct txn *t, uint16_t type, uint16_t flags);
void txn_fail(struct txn *t, int error);
/* Close the batch: data and size are what the kernel gets. Returns the sticky error. */
int txn_end(struct txn *t);
/* Send it and read the answers. *reterr.text names the operation that failed and why. */
int txn_commit(struct txn *t, struct mnl_socket *s, struct diag *reterr);
