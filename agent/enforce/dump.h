/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Reads the objects of one table back from the kernel. */
#include <libmnl/libmnl.h>
#include <stdint.h>
#include "base/buf.h"

struct dump {
        struct mnl_socket *socket;
        const char *table;
        uint32_t sequence;
};

/* Calls back for each object `type` (NFT_MSG_GET*) of the table, with its attributes behind
 * struct nfgenmsg; `set` only for elements. -EINTR the tables changed meanwhile. After a failure
 * the socket holds the rest of a dump: close it. */
struct dump_request {
        uint16_t type;
        const char *set;
        mnl_cb_t callback;
        void *userdata;
};
int dump_objects(struct dump *d, const struct dump_request *r);

const struct nlattr *dump_attr(const struct nlmsghdr *nlh, uint16_t type); /* NULL: none */
const char *dump_string(const struct nlmsghdr *nlh, uint16_t type); /* "" none */

/* Names of what the table has, NUL behind each. */
struct table_names {
        struct buf chains;
        struct buf sets;
};
void table_names_done(struct table_names *n);
/* -ENOENT there is no such table, or it has no chains. */
int dump_names(struct dump *d, struct table_names *ret);
/* Behind one name the next, from NULL; NULL at the end. */
const char *names_next(const struct buf *names, const char *name);
