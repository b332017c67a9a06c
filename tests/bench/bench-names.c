/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What oc_egress takes for a DNS query, by how many names there are: run by BPF_PROG_TEST_RUN on
 * queries for names that are listed and for others.
 *
 *   bench-names BPFFS CGROUP
 *
 * `names_N_listed` and `names_N_other` are queries that are asked again and again, `names_N_cold` is
 * one in the midst of others. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <string.h>
#include "agent/watch/internal.h"
#include "bench.h"
#include "bpf/onchannel.skel.h"

#define N_CHANNELS    200
#define N_QUERIES     256
#define N_COLD        4096
#define REPEAT        500
#define NAME_MAX_SIZE 32

struct query {
        uint8_t bytes[128];
        uint32_t size;
};

static struct rule_channel channels[N_CHANNELS + 1];
static char ids[N_CHANNELS + 1][8];

static void no_facts(const struct fact *f, void *userdata)
{
}

static void fail(const char *what)
{
        perror(what);
        exit(1);
}

/* Approved, so that a query is judged to its end and nothing is told. */
static struct ruleset make_ruleset(uint32_t n)
{
        struct rule_entry *entries = calloc(n + 1, sizeof(*entries));
        char *text = malloc((size_t)(n + 1) * NAME_MAX_SIZE);

        if (!entries || !text)
                fail("bench-names");
        for (unsigned c = 1; c <= N_CHANNELS; c++) {
                snprintf(ids[c], sizeof(ids[c]), "c%03u", c);
                channels[c] = (struct rule_channel){.id = ids[c], .verdict = VERDICT_ALLOW};
        }
        for (uint32_t i = 1; i <= n; i++) {
                char *name = text + (size_t)i * NAME_MAX_SIZE;

                snprintf(name, NAME_MAX_SIZE, "n%u.c%u.example", i, i % 1000);
                entries[i] = (struct rule_entry){
                        .kind = ENTRY_SUFFIX, .channel = (uint16_t)(1 + i % N_CHANNELS), .value = name};
        }
        return (struct ruleset){.channels = channels,
                                .n_channels = N_CHANNELS + 1,
                                .entries = entries,
                                .n_entries = n + 1,
                                .mode = POLICY_MODE_ENFORCE,
                                .storage = text};
}

static void put_label(struct query *q, const char *label)
{
        size_t n = strlen(label);

        q->bytes[q->size++] = (uint8_t)n;
        memcpy(q->bytes + q->size, label, n);
        q->size += (uint32_t)n;
}

/* Ethernet, IPv4, UDP, one question for www.LABEL.cN.example. */
static struct query make_query(uint32_t i, uint32_t n)
{
        uint32_t at = (uint32_t)((uint64_t)i * 2654435761u % n) + 1;
        struct query q = {.bytes = {[12] = 8, [14] = 0x45, [22] = 64, [23] = IPPROTO_UDP, [37] = 53, [47] = 1},
                          .size = ETH_HLEN + 20 + 8 + 12};
        char label[32];

        put_label(&q, "www");
        snprintf(label, sizeof(label), "%c%u", i % 2 ? 'n' : 'x', at);
        put_label(&q, label);
        snprintf(label, sizeof(label), "c%u", at % 1000);
        put_label(&q, label);
        put_label(&q, "example");
        q.size += 5;
        q.bytes[q.size - 3] = q.bytes[q.size - 1] = 1;
        q.bytes[17] = (uint8_t)(q.size - ETH_HLEN);
        q.bytes[39] = (uint8_t)(q.size - ETH_HLEN - 20);
        return q;
}

static double run_ns(int program, const struct query *q, int repeat)
{
        LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = q->bytes, .data_size_in = q->size, .repeat = repeat);

        if (bpf_prog_test_run_opts(program, &o) < 0 || o.retval != 1)
                fail("BPF_PROG_TEST_RUN");
        return o.duration;
}

static void measure(struct watch *w, uint32_t n)
{
        static double warm[2][N_QUERIES / 2], cold[N_COLD];
        int program = bpf_program__fd(w->bpf->progs.oc_egress);
        struct ruleset r = make_ruleset(n);

        if (watch_apply(w, &r, 1) < 0)
                fail("watch_apply");
        for (uint32_t i = 0; i < N_QUERIES; i++) {
                struct query q = make_query(i, n);

                warm[i % 2][i / 2] = run_ns(program, &q, REPEAT);
        }
        for (uint32_t i = 0; i < N_COLD; i++) {
                struct query q = make_query(N_QUERIES + i, n);

                cold[i] = run_ns(program, &q, 1);
        }
        printf("names_%u_listed %.0f ns\n", n, median(warm[1], N_QUERIES / 2));
        printf("names_%u_other %.0f ns\n", n, median(warm[0], N_QUERIES / 2));
        printf("names_%u_cold %.0f ns\n", n, median(cold, N_COLD));
        free(r.entries);
        free(r.storage);
}

int main(int argc, char **argv)
{
        static const uint32_t sizes[] = {100, 10000, 1000000};
        struct watch_options o = {.mark_mask = 0x3ff00000};
        struct watch *w = NULL;
        bool pinned;

        if (argc != 3)
                return fprintf(stderr, "usage: bench-names BPFFS CGROUP\n"), 2;
        o.bpffs = argv[1];
        o.cgroup = argv[2];
        if (watch_new(&o, no_facts, NULL, &w, &pinned) < 0)
                fail("bench-names: needs root");
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
                measure(w, sizes[i]);
        watch_free(w, true);
        return 0;
}
