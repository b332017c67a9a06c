/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nftables half of a reload: 200 blocked channels, 10,000 prefixes, one transaction, in a
 * network namespace of its own; of another catalogue (replace) and of another policy (reload). */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/enforce/nft.h"
#include "bench.h"

#define N_CHANNELS 200
#define N_PREFIXES 10000
#define ROUNDS     21

static struct rule_channel channels[N_CHANNELS + 1];
static struct rule_entry entries[N_PREFIXES + 1];
static char ids[N_CHANNELS + 1][8];

/* One in ten is a hole in another channel's, one in five IPv6. */
static struct prefix make_prefix(unsigned i)
{
        struct prefix p = {.family = AF_INET, .length = 24, .address = {11, (uint8_t)(i >> 7), (uint8_t)(i << 1)}};

        if (i % 10 == 1) {
                p.address[2] = (uint8_t)((i - 1) << 1);
                p.address[3] = 64;
                p.length = 26;
        }
        if (i % 5 == 3)
                p = (struct prefix){AF_INET6, 48, {0x20, 0x01, 0x0d, 0xb8, (uint8_t)(i >> 7), (uint8_t)(i << 1)}};
        return p;
}

static struct ruleset make_ruleset(void)
{
        for (unsigned c = 1; c <= N_CHANNELS; c++) {
                snprintf(ids[c], sizeof(ids[c]), "c%03u", c);
                channels[c] = (struct rule_channel){.id = ids[c], .verdict = VERDICT_BLOCK};
        }
        for (unsigned i = 1; i <= N_PREFIXES; i++)
                entries[i] = (struct rule_entry){.kind = ENTRY_PREFIX,
                                                 .channel = (uint16_t)(1 + i * 7 % N_CHANNELS),
                                                 .prefix = make_prefix(i)};
        return (struct ruleset){.channels = channels,
                                .n_channels = N_CHANNELS + 1,
                                .entries = entries,
                                .n_entries = N_PREFIXES + 1,
                                .mode = POLICY_MODE_ENFORCE};
}

int main(void)
{
        const struct nft_options options = {.table = "onchannel", .mark_mask = 0x3ff00000};
        const struct ruleset rules = make_ruleset();
        double encode[ROUNDS], replace[ROUNDS], apply[ROUNDS], hash[ROUNDS];
        struct nft *n = NULL;
        struct diag d = {};
        char hex[65];

        if (unshare(CLONE_NEWNET) < 0 || nft_new(&options, &n) < 0) {
                fprintf(stderr, "bench-nft: needs root\n");
                return 1;
        }
        for (unsigned i = 0; i < ROUNDS; i++) {
                double start = now_us();
                uint8_t *bytes = NULL;
                size_t size;

                if (nft_encode(&options, &rules, &bytes, &size, &d) < 0)
                        goto failed;
                encode[i] = now_us() - start;
                free(bytes);
                nft_distrust(n);
                start = now_us();
                if (nft_apply(n, &rules, &d) < 0)
                        goto failed;
                replace[i] = now_us() - start;
                if (nft_tidy(n, &rules) < 0)
                        goto failed;
                start = now_us();
                if (nft_apply(n, &rules, &d) < 0)
                        goto failed;
                apply[i] = now_us() - start;
                start = now_us();
                if (nft_hash(n, hex) < 0)
                        goto failed;
                hash[i] = now_us() - start;
        }
        printf("nft_encode %.2f ms\n", median(encode, ROUNDS) / 1e3);
        printf("nft_replace %.2f ms\n", median(replace, ROUNDS) / 1e3);
        printf("nft_reload %.2f ms\n", median(apply, ROUNDS) / 1e3);
        printf("nft_hash %.2f ms\n", median(hash, ROUNDS) / 1e3);
        n = nft_free(n);
        return 0;
failed:
        fprintf(stderr, "bench-nft: %s\n", d.text);
        return 1;
}
