/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/enforce/txn.h"

#define TXN_MAX   (256u << 20) /* 1,000 channels and a million prefixes stay below */
#define REPLY_MAX (64u << 10)

void txn_done(struct txn *t)
{
        free(t->data);
        *t = (struct txn){};
}

static void close_message(struct txn *t)
{
        if (t->open)
                t->size += MNL_ALIGN(t->open->nlmsg_len);
        t->open = NULL;
}

/* Room for one more message behind the finished ones. */
static int reserve(struct txn *t)
{
        size_t wanted = t->allocated * 2;
        uint8_t *data;

        if (t->allocated - t->size >= TXN_MESSAGE_MAX)
                return 0;
        if (wanted > TXN_MAX)
                return -E2BIG;
        data = realloc(t->data, wanted);
        if (!data)
                return -ENOMEM;
        memset(data + t->allocated, 0, wanted - t->allocated); /* libmnl leaves the padding as it is */
        t->data = data;
        t->allocated = wanted;
        return 0;
}

static void batch_message(struct txn *t, uint16_t type, uint32_t sequence)
{
        struct nlmsghdr *nlh = mnl_nlmsg_put_header(t->data + t->size);
        struct nfgenmsg *nfg;

        nlh->nlmsg_type = type;
        nlh->nlmsg_flags = NLM_F_REQUEST;
        nlh->nlmsg_seq = sequence;
        nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
        nfg->nfgen_family = AF_UNSPEC;
        nfg->version = NFNETLINK_V0;
        nfg->res_id = htons(NFNL_SUBSYS_NFTABLES);
        t->size += nlh->nlmsg_len;
}

int txn_begin(struct txn *t, uint32_t sequence)
{
        uint8_t *data = calloc(2, TXN_MESSAGE_MAX);

        if (!data)
                return -ENOMEM;
        *t = (struct txn){.data = data, .allocated = 2 * TXN_MESSAGE_MAX, .sequence = sequence};
        batch_message(t, NFNL_MSG_BATCH_BEGIN, sequence);
        return 0;
}

void txn_expect(struct txn *t, uint32_t generation)
{
        struct nlmsghdr *begin = (struct nlmsghdr *)t->data;

        mnl_attr_put_u32(begin, NFNL_BATCH_GENID, htonl(generation));
        t->size = begin->nlmsg_len;
}

void txn_fail(struct txn *t, int error)
{
        if (t->error == 0)
                t->error = error;
}

struct nlmsghdr *txn_add(struct txn *t, uint16_t type, uint16_t flags)
{
        int r;

        close_message(t);
        if (t->error == 0) {
                r = reserve(t);
                if (r < 0)
                        txn_fail(t, r);
        }
        if (t->error < 0)
                t->size = 0; /* the batch is lost: its storage serves as scratch area */
        t->n_ops++;
        t->open = nftnl_nlmsg_build_hdr((char *)t->data + t->size, type, NFPROTO_INET, flags, t->sequence + t->n_ops);
        return t->open;
}

int txn_end(struct txn *t)
{
        int r;

        /* errors come for every operation, a success only for the last one */
        if (t->open)
                t->open->nlmsg_flags |= NLM_F_ACK;
        close_message(t);
        if (t->error < 0)
                return t->error;
        r = reserve(t);
        if (r < 0)
                return r;
        batch_message(t, NFNL_MSG_BATCH_END, t->sequence + t->n_ops + 1);
        return 0;
}

static const char *string_attr(const struct nlmsghdr *nlh, uint16_t type)
{
        const struct nlattr *attr;

        mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) == type &&
                                                                  mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >=
                                                                          0) return mnl_attr_get_str(attr);
        return "?";
}

static void describe(const struct nlmsghdr *nlh, char *ret, size_t size)
{
        switch (nlh->nlmsg_type & 0xff) {
        case NFT_MSG_NEWTABLE:
                snprintf(ret, size, "cannot add table '%s'", string_attr(nlh, NFTA_TABLE_NAME));
                return;
        case NFT_MSG_DELTABLE:
                snprintf(ret, size, "cannot delete table '%s'", string_attr(nlh, NFTA_TABLE_NAME));
                return;
        case NFT_MSG_NEWCHAIN:
                snprintf(ret, size, "cannot add chain '%s'", string_attr(nlh, NFTA_CHAIN_NAME));
                return;
        case NFT_MSG_DELRULE:
                snprintf(ret, size, "cannot delete the rules of table '%s'", string_attr(nlh, NFTA_RULE_TABLE));
                return;
        case NFT_MSG_DELCHAIN:
                snprintf(ret, size, "cannot delete chain '%s'", string_attr(nlh, NFTA_CHAIN_NAME));
                return;
        case NFT_MSG_DELSET:
                snprintf(ret, size, "cannot delete set '%s'", string_attr(nlh, NFTA_SET_NAME));
                return;
        case NFT_MSG_NEWRULE:
                snprintf(ret, size, "cannot add rule to chain '%s'", string_attr(nlh, NFTA_RULE_CHAIN));
                return;
        case NFT_MSG_NEWSET:
                snprintf(ret, size, "cannot add set '%s'", string_attr(nlh, NFTA_SET_NAME));
                return;
        case NFT_MSG_NEWSETELEM:
                snprintf(ret, size, "cannot add set element to '%s'", string_attr(nlh, NFTA_SET_ELEM_LIST_SET));
                return;
        }
        snprintf(ret, size, "nf_tables message %u", nlh->nlmsg_type & 0xffu);
}

/* The operation with this sequence number; NULL for the batch itself. */
static const struct nlmsghdr *find_op(const struct txn *t, uint32_t sequence)
{
        for (size_t at = 0; at < t->size;) {
                const struct nlmsghdr *nlh = (const void *)(t->data + at);

                if (nlh->nlmsg_seq == sequence && nlh->nlmsg_type >= NLMSG_MIN_TYPE + 2)
                        return nlh;
                at += MNL_ALIGN(nlh->nlmsg_len);
        }
        return NULL;
}

/* Extended acknowledgement's text: attributes behind the capped error message (Linux 4.12). */
static const char *extended_text(const struct nlmsghdr *nlh)
{
        const struct nlattr *attr;

        if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
                return NULL;
        mnl_attr_for_each(attr, nlh, sizeof(struct nlmsgerr)) if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
                                                                  mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >=
                                                                          0) return mnl_attr_get_str(attr);
        return NULL;
}

static int refused(const struct txn *t, const struct nlmsghdr *reply, struct diag *reterr)
{
        const struct nlmsgerr *e = mnl_nlmsg_get_payload(reply);
        const struct nlmsghdr *op = find_op(t, reply->nlmsg_seq);
        const char *detail = extended_text(reply);
        char what[320] = "cannot commit the transaction";

        if (op)
                describe(op, what, sizeof(what));
        return diag_set(reterr, e->error, NULL, 0, "%s: %s%s%s (operation %u of %u)", what, strerror(-e->error),
                        detail ? ": " : "", detail ? detail : "", op ? op->nlmsg_seq - t->sequence : 0, t->n_ops);
}

/* The kernel works the batch off inside sendmsg, so every answer is there already. The first
 * error is the cause, later ones follow from it. */
static int read_answers(const struct txn *t, int fd, struct diag *reterr)
{
        _cleanup_free_ uint8_t *buf = malloc(REPLY_MAX);
        bool acknowledged = false;
        int r = 0;

        if (!buf)
                return -ENOMEM;
        for (;;) {
                ssize_t n = recv(fd, buf, REPLY_MAX, MSG_DONTWAIT);
                int left = (int)n;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                if (n < 0)
                        return diag_set(reterr, -errno, NULL, 0, "cannot read the kernel's answer: %s",
                                        strerror(errno));
                for (const struct nlmsghdr *nlh = (void *)buf; mnl_nlmsg_ok(nlh, left);
                     nlh = mnl_nlmsg_next(nlh, &left)) {
                        const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

                        if (nlh->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(nlh) < sizeof(*e) ||
                            nlh->nlmsg_seq - t->sequence > t->n_ops)
                                continue;
                        if (e->error < 0 && r == 0)
                                r = refused(t, nlh, reterr);
                        acknowledged |= nlh->nlmsg_seq == t->sequence + t->n_ops;
                }
        }
        if (r == 0 && !acknowledged)
                return diag_set(reterr, -EIO, NULL, 0, "the kernel did not answer the transaction");
        return r;
}

int txn_commit(struct txn *t, struct mnl_socket *s, struct diag *reterr)
{
        const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
        struct iovec iov = {.iov_base = t->data};
        const struct msghdr msg = {
                .msg_name = (void *)&kernel,
                .msg_namelen = sizeof(kernel),
                .msg_iov = &iov,
                .msg_iovlen = 1,
        };
        int r, fd = mnl_socket_get_fd(s), size;

        r = txn_end(t);
        if (r < 0)
                return diag_set(reterr, r, NULL, 0, "cannot build the transaction: %s", strerror(-r));
        iov = (struct iovec){t->data, t->size};
        size = (int)t->size + 4096; /* af_netlink.c: a message longer than the send buffer gets EMSGSIZE */
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
                return diag_set(reterr, -errno, NULL, 0, "cannot enlarge the netlink buffer: %s", strerror(errno));
        if (sendmsg(fd, &msg, 0) < 0)
                return diag_set(reterr, -errno, NULL, 0, "cannot send the transaction: %s", strerror(errno));
        return read_answers(t, fd, reterr);
}
