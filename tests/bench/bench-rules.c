/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-rules CATALOGUE POLICY: parse and compile them, time and memory that stays. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "bench.h"
#include "rules/rules.h"

#define ROUNDS 51

struct sample {
        double parse_us, compile_us;
        size_t catalogue_bytes, rules_bytes, channels, entries;
};

static size_t allocated(void)
{
        struct mallinfo2 m = mallinfo2(); /* glibc 2.33 */

        return m.uordblks + m.hblkhd;
}

static int measure(const char *const text[2], const size_t size[2], struct sample *ret)
{
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        _cleanup_catalogue_ struct catalogue *own = NULL;
        _cleanup_policy_ struct policy *policy = NULL;
        _cleanup_ruleset_ struct ruleset *rules = NULL;
        struct sample s = {0};
        struct diag d = {0};
        size_t before = allocated();
        double start = now_us();
        int r;

        r = catalogue_parse_built(text[0], size[0], "catalogue", &catalogue, &d);
        s.parse_us = now_us() - start;
        s.catalogue_bytes = allocated() - before;
        if (r >= 0)
                r = policy_parse(text[1], size[1], "policy", &policy, &d);
        if (r >= 0)
                r = catalogue_parse_own(text[1], size[1], "policy", &own, &d);
        const struct rules_input in = {.catalogue = catalogue,
                                       .own = own,
                                       .policy = policy,
                                       .policy_file = "policy",
                                       .device = "bench",
                                       .now = 1795219200};
        before = allocated();
        start = now_us();
        if (r >= 0)
                r = rules_compile(&in, &rules, &d);
        if (r < 0) {
                fprintf(stderr, "bench-rules: %s:%u: %s\n", d.file, d.line, d.text);
                return r;
        }
        s.compile_us = now_us() - start;
        s.rules_bytes = allocated() - before;
        s.channels = rules->n_channels - 1;
        s.entries = rules->n_entries - 1;
        *ret = s;
        return 0;
}

int main(int argc, char **argv)
{
        double parse[ROUNDS], compile[ROUNDS];
        char *text[2] = {0};
        size_t size[2];
        struct sample s = {0};

        if (argc != 3 || file_read(argv[1], CATALOGUE_MAX_BYTES, &text[0], &size[0]) < 0 ||
            file_read(argv[2], POLICY_MAX_BYTES, &text[1], &size[1]) < 0) {
                fprintf(stderr, "usage: bench-rules CATALOGUE POLICY\n");
                return 2;
        }
        for (unsigned i = 0; i < ROUNDS; i++) {
                if (measure((const char *const *)text, size, &s) < 0)
                        return 1;
                parse[i] = s.parse_us;
                compile[i] = s.compile_us;
        }
        printf("rules_channels %zu channels\nrules_entries %zu entries\n", s.channels, s.entries);
        printf("catalogue_parse %.2f ms\n", median(parse, ROUNDS) / 1e3);
        printf("catalogue_bytes %zu bytes\n", s.catalogue_bytes);
        printf("rules_compile %.2f ms\n", median(compile, ROUNDS) / 1e3);
        printf("rules_compile_bytes %zu bytes\n", s.rules_bytes);
        free(text[0]);
        free(text[1]);
        return 0;
}
