/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Batches, verified one by one and then against each other. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cli/cli.h"
#include "record/chain.h"

struct evidence_batch { /* one that holds in itself */
        char device[DEVICE_ID_MAX];
        char boot[37];
        struct chain_seal seal;
        const char *file;
        unsigned line;
};

struct evidence_problem {
        char *file;
        unsigned line;
        char *text;
};

struct evidence {
        uint8_t key[DEVICE_KEY_SIZE];
        bool has_key;
        struct evidence_batch *batches;
        size_t n_batches;
        struct evidence_problem *problems; /* broken, missing or forked */
        size_t n_problems;
        uint64_t records;
        uint64_t uncovered_ms; /* the records say that the agent did not run */
        size_t n_uncovered;
        bool starts_at_first; /* every device's first record is there and hangs on its key */
};

struct evidence_input {
        const char *text;
        size_t size;
        const char *file;
        unsigned line; /* before the batch */
};

void evidence_done(struct evidence *e);
void evidence_problem(struct evidence *e, const char *file, unsigned line, const char *text);
/* Check one batch by itself: a broken one becomes a problem. -ENOMEM. */
int evidence_add(struct evidence *e, const struct evidence_input *in);
/* Then all of them: gaps and forks become problems. */
void evidence_link(struct evidence *e);
/* The exit status. */
int evidence_print(const struct cli *c, const struct evidence *e);
