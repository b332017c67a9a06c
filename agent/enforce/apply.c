/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the table that is there to the one that should be, without a moment in between. */
#include <errno.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include "agent/enforce/internal.h"

#define UNTIDY_MAX 8

static int replace(struct nft *n, struct table_spec *s, struct diag *reterr)
{
        _cleanup_txn_ struct txn t = {};
        uint32_t before = 0;
        int error;

        error = nft_generation(n, &before);
        if (error == 0)
                error = nft_start(n, &t);
        if (error < 0)
                return diag_set(reterr, error, NULL, 0, "%s", strerror(-error));
        s->maps_version = s->users_version = 1;
        table_build(&t, s);
        error = nft_commit(n, &t, reterr);
        if (error == 0)
                n->generation = before + 1;
        return error;
}

/* A transaction on tables that nobody has changed since n->generation. */
static int step(struct nft *n, const struct table_spec *s, void (*build)(struct txn *t, const struct table_spec *s))
{
        _cleanup_txn_ struct txn t = {};
        int r;

        r = nft_start(n, &t);
        if (r < 0)
                return r;
        txn_expect(&t, n->generation);
        build(&t, s);
        r = nft_commit(n, &t, NULL);
        if (r == 0)
                n->generation++;
        return r;
}

static int change_catalogue(struct nft *n, struct table_spec *s)
{
        _cleanup_(table_names_done) struct table_names old = {};
        int r;

        r = nft_generation(n, &n->generation);
        if (r == 0)
                r = nft_read_names(n, &old);
        if (r == 0)
                r = table_free_version(&old, &s->maps_version);
        if (r < 0)
                return r;
        s->users_version = s->maps_version;
        r = step(n, s, table_build_catalogue);
        return r < 0 ? r : step(n, s, table_build_policy);
}

/* Whatever is in the way of the gentle way goes the hard way. */
static int rebuild(struct nft *n, struct table_spec *s, struct diag *reterr)
{
        return change_catalogue(n, s) == 0 ? 0 : replace(n, s, reterr);
}

/* The kernel builds a notification for each element as long as anybody listens, which doubles
 * the time of a large transaction: do not listen meanwhile. When the generation tells that
 * somebody else made a change in that moment, do it again and listen. What is still queued of a
 * change that nft_monitor_read() has told is made good now, and not told again. */
static int rebuild_unheard(struct nft *n, struct table_spec *s, struct diag *reterr)
{
        uint32_t now = 0;
        int error, listening;
        bool rest;

        if (nft_listen(n, false) < 0)
                return rebuild(n, s, reterr);
        error = rebuild(n, s, reterr);
        if (error == 0 && n->is_change_told)
                (void)nft_monitor_read(n, &rest);
        n->is_change_told = false;
        listening = nft_listen(n, true);
        if (error < 0)
                return error;
        if (listening < 0)
                return diag_set(reterr, listening, NULL, 0, "cannot listen for changes: %s", strerror(-listening));
        if (nft_generation(n, &now) < 0 || now != n->generation)
                return rebuild(n, s, reterr);
        return 0;
}

/* Has nobody else changed our table? Another generation may be the work of another firewall, or a
 * flow's (which is counted only when it is new): then the monitor has nothing to say. It is not read
 * here, so that tampering is still told. */
static bool is_untouched(const struct nft *n, uint32_t generation)
{
        struct pollfd p = {.fd = n->monitor ? mnl_socket_get_fd(n->monitor) : -1, .events = POLLIN};

        return generation == n->generation || (n->monitor && poll(&p, 1, 0) == 0);
}

static int change_policy(struct nft *n, struct table_spec *s)
{
        _cleanup_(table_names_done) struct table_names old = {};
        uint32_t generation = 0;
        int r;

        r = nft_generation(n, &generation);
        if (r < 0)
                return r;
        if (!n->is_in_force || !is_untouched(n, generation))
                return -ESTALE;
        n->generation = generation;
        r = nft_read_names(n, &old);
        if (r == 0)
                r = table_free_version(&old, &s->users_version);
        return r < 0 ? r : step(n, s, table_build_policy);
}

struct table_spec nft_spec_in_force(const struct nft *n)
{
        return (struct table_spec){
                .options = &n->options, .maps_version = n->maps_version, .users_version = n->users_version};
}

/* Without a rule set it is not known which chains are in force, and they stay. */
int nft_tidy(struct nft *n, const struct ruleset *r)
{
        _cleanup_(table_names_done) struct table_names old = {};
        struct table_spec s = nft_spec_in_force(n);
        _cleanup_txn_ struct txn t = {};
        uint32_t generation = 0;
        int error;

        s.rules = r;
        error = nft_generation(n, &generation);
        if (error == 0)
                error = nft_read_names(n, &old);
        if (error == 0)
                error = nft_start(n, &t);
        if (error < 0)
                return error;
        txn_expect(&t, generation);
        if (table_build_tidy(&t, &s, &old)) {
                /* until every packet that was on its way has arrived: an RCU grace period (Linux 4.3) */
                if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
                        return -errno;
                error = nft_commit(n, &t, NULL);
                if (error < 0)
                        return error;
                n->generation += n->generation == generation;
        }
        n->n_untidy = 0;
        return 0;
}

int nft_apply(struct nft *n, const struct ruleset *r, struct diag *reterr)
{
        struct table_spec s = nft_spec_in_force(n);
        uint8_t hash[TABLE_HASH_SIZE];
        int error;

        s.rules = r;
        error = table_check(&s, reterr);
        if (error < 0)
                return error;
        if (++n->n_untidy > UNTIDY_MAX)
                (void)nft_tidy(n, NULL);
        table_hash(&s, hash);
        if (memcmp(n->hash, hash, sizeof(hash)) != 0 || change_policy(n, &s) < 0) {
                n->is_in_force = false;
                error = rebuild_unheard(n, &s, reterr);
                if (error < 0)
                        return error;
        }
        n->is_in_force = true;
        n->maps_version = s.maps_version;
        n->users_version = s.users_version;
        memcpy(n->hash, hash, sizeof(hash));
        return 0;
}

void nft_distrust(struct nft *n)
{
        n->is_in_force = false;
}
