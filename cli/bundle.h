/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Reads an evidence bundle, plain or zstd, and says in words what it proves. Also the whole of onchannel-verify. */
#include "cli/cli.h"
#include "evidence/verify.h"

/* Does the file begin as a bundle does? */
bool bundle_is(const char *path);
/* The options of `verify` that concern bundles. Keys: a verifier key, or a file that holds one a line. STATUS_*. */
struct bundle_arguments {
        const char *log_key, *witness, *heartbeat;
};
#define BUNDLE_OPTIONS(a)                                                                                            \
        {"log-key", 0, &(a).log_key, NULL}, {"witness", 0, &(a).witness, NULL},                                      \
        {                                                                                                            \
                "heartbeat", 0, &(a).heartbeat, NULL                                                                 \
        }
int bundle_options(const struct cli *c, const struct bundle_arguments *a, struct verify_options *ret);
/* The exit status. path "-": standard input. */
int bundle_verify(const struct cli *c, const char *path, const struct verify_options *o);
/* ---- bundle-print.c ---- */
int bundle_print(const struct cli *c, const struct verify *v);
/* ---- bundle-read.c ---- */
/* Lines of a plain or compressed file. */
struct bundle_reader;
int bundle_reader_open(const char *path, struct bundle_reader **ret, struct diag *reterr);
struct bundle_reader *bundle_reader_free(struct bundle_reader *r);
DEFINE_CLEANUP(struct bundle_reader, bundle_reader_free)
/* 1 a line without its newline (*ret_whole: it had one), 0 the end; *reterr says what is wrong. */
int bundle_reader_line(struct bundle_reader *r, const char **ret, size_t *ret_size, bool *ret_whole,
                       struct diag *reterr);
