/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What nft.c, apply.c and monitor.c share. */
#include "agent/enforce/table.h"

struct nft {
        struct nft_options options; /* its table is the copy below */
        char *table;
        struct mnl_socket *socket;
        struct mnl_socket *monitor; /* NULL until asked for */
        /* For dumps, kept open: closing it would wait until the kernel has freed the last table
         * that was replaced (nft_rcv_nl_event()). */
        struct mnl_socket *reader;
        uint32_t sequence;
        /* The table as it was left, while it is not known to have been touched since. */
        bool is_in_force;
        bool is_change_told; /* and nothing has been made good since */
        uint8_t hash[TABLE_HASH_SIZE];
        unsigned maps_version, users_version;
        unsigned n_untidy; /* times applied since nft_tidy() */
        uint32_t generation; /* right after */
};

DEFINE_CLEANUP(struct mnl_socket, mnl_socket_close)

int nft_open_socket(struct mnl_socket **ret);
int nft_start(struct nft *n, struct txn *t);
int nft_commit(struct nft *n, struct txn *t, struct diag *reterr);
/* How often this namespace's nftables were changed. */
int nft_generation(struct nft *n, uint32_t *ret);
/* -ENOENT there is no table. */
int nft_read_names(struct nft *n, struct table_names *ret);
/* apply.c; without the rule set */
struct table_spec nft_spec_in_force(const struct nft *n);
/* monitor.c: 0 also without a monitor. */
int nft_listen(struct nft *n, bool on);
