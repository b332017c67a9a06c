/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Proof for an auditor, offline: what was kept is what the devices wrote, whole and in order. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/bundle.h"
#include "cli/evidence.h"
#include "spool/spool.h"

#define EVIDENCE_MAX_BYTES (1u << 30)
#define EXPORT_PROGRAM     "onchannel-export"
#define WITNESS_PROGRAM    "onchannel-witness"

static const char usage[] =
        "Usage: onchannel evidence verify FILE… [--log-key KEY|FILE] [--witness KEY|FILE] [--heartbeat SECONDS]\n"
        "                   [--device-key HEX|FILE] [--json]\n"
        "       onchannel evidence export URL -o FILE [--from TIME] [--to TIME] [--device DEVICE] [--user NAME]\n"
        "                   [--channel ID] [--class CLASS] [--tier TIER] [--layer LAYER] [--outcome OUTCOME]\n"
        "                   [--program PROGRAM] [--login NAME] [--password-file FILE] [--ca FILE]\n"
        "                   [--log-key KEY|FILE] [--witness KEY|FILE] [--heartbeat SECONDS] [--json]\n"
        "       onchannel evidence witness URL --log-key KEY|FILE --key FILE --state FILE [--ca FILE]\n"
        "                   [--interval SECONDS] [--once]\n"
        "verify   recomputes hashes, seals and proofs; says what holds, what is broken and where; needs no network.\n"
        "         FILE is a bundle that a collector exported (plain or zstd), a spool folder, or holds batches as a\n"
        "         device sends them\n"
        "export   logs in at a collector's page, takes a bundle and verifies it: runs onchannel-export(1)\n"
        "witness  watches a collector's log from another host: runs onchannel-witness(1)\n"
        "  --log-key KEY|FILE      the verifier key of the collector's log, as the firm gave it to you\n"
        "  --witness KEY|FILE      verifier keys of witnesses that must have cosigned\n"
        "  --heartbeat SECONDS     how often devices write coverage records (default 300)\n"
        "  -o, --output FILE       where the bundle goes; compressed when FILE ends in .zst\n"
        "  --device-key HEX|FILE   the device's public key; for a spool folder ../device.pub is taken\n"
        "Exit status: 0 everything holds, 1 something is broken or missing.\n";

/* Lines of the batch that starts at `text`: 0 when its header cannot be read. */
static size_t batch_extent(const char *text, size_t size, unsigned *ret_lines)
{
        const char *p = memchr(text, '\n', size), *end = text + size;
        json_auto_t *header = p ? json_loadb(text, (size_t)(p - text), 0, NULL) : NULL;
        json_int_t n = json_number(header, "n");

        if (n < 1 || n > BATCH_RECORDS_MAX)
                return 0;
        p++;
        for (json_int_t i = 0; i < n; i++) {
                p = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
                if (!p)
                        return 0;
                p++;
        }
        *ret_lines = (unsigned)n + 1;
        return (size_t)(p - text);
}

static int verify_file(const struct cli *c, struct evidence *e, const char *path)
{
        _cleanup_free_ char *text = NULL;
        unsigned line = 0;
        size_t size;
        int r;

        r = read_input(c, path, EVIDENCE_MAX_BYTES, &text, &size);
        for (size_t done = 0; r == STATUS_OK && done < size;) {
                struct evidence_input in = {.text = text + done, .file = path, .line = line};
                unsigned lines = 0;

                in.size = batch_extent(in.text, size - done, &lines);
                if (in.size == 0) {
                        evidence_problem(e, path, line + 1,
                                         "neither a batch's header nor as many records as it says");
                        return STATUS_OK;
                }
                if (evidence_add(e, &in) < 0)
                        return cli_fail(c, STATUS_FAILED, "out of memory");
                done += in.size;
                line += lines;
        }
        return r;
}

/* HEX or a file that holds it. */
static int read_key(const struct cli *c, struct evidence *e, const char *source)
{
        _cleanup_free_ char *text = NULL;
        int r;

        if (hex_decode(source, e->key, sizeof(e->key)) < 0) {
                r = read_input(c, source, 1024, &text, NULL);
                if (r != STATUS_OK)
                        return r;
                text[strcspn(text, " \n")] = 0;
                if (hex_decode(text, e->key, sizeof(e->key)) < 0)
                        return cli_fail(c, STATUS_FAILED, "'%s' holds no public key of %d hex digits", source,
                                        2 * DEVICE_KEY_SIZE);
        }
        e->has_key = true;
        return STATUS_OK;
}

static int verify_spool(const struct cli *c, struct evidence *e, const char *dir)
{
        _cleanup_free_ char *key = format_new("%s/../device.pub", dir);
        char device[DEVICE_ID_MAX];
        uint64_t after = 0, first = 0, last = 0;
        int r;

        if (!e->has_key) {
                r = key ? read_key(c, e, key) : STATUS_FAILED;
                if (r != STATUS_OK)
                        return r;
        }
        device_id_format(e->key, device);
        for (;;) {
                _cleanup_free_ char *text = NULL;
                struct evidence_input in = {.file = dir};

                r = spool_read_batch(dir, device, after, &text, &in.size, &first, &last);
                if (r == -ENOENT && first > after + 1) { /* older ones were acknowledged and deleted */
                        after = first - 1;
                        continue;
                }
                if (r == -ENODATA || r == -ENOENT)
                        return STATUS_OK;
                if (r == -EBADMSG) {
                        evidence_problem(e, dir, 0, "a damaged segment behind the record that was read last");
                        return STATUS_OK;
                }
                if (r < 0)
                        return cli_fail(c, STATUS_FAILED, "cannot read the spool '%s': %s", dir, strerror(-r));
                in.text = text;
                if (evidence_add(e, &in) < 0)
                        return cli_fail(c, STATUS_FAILED, "out of memory");
                after = last;
        }
}

static int command_verify(struct cli *c, int argc, char **argv)
{
        _cleanup_(evidence_done) struct evidence e = {0};
        const char *key = NULL;
        struct bundle_arguments a = {0};
        const struct cli_option options[] = {{"device-key", 0, &key, NULL}, BUNDLE_OPTIONS(a), {0}};
        struct verify_options o;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc == 0)
                return cli_usage(c, r);
        if (argc == 1 && bundle_is(argv[0])) {
                r = bundle_options(c, &a, &o);
                return r == STATUS_OK ? bundle_verify(c, argv[0], &o) : r;
        }
        r = key ? read_key(c, &e, key) : STATUS_OK;
        for (int i = 0; r == STATUS_OK && i < argc; i++) {
                struct stat st;

                if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
                        r = verify_spool(c, &e, argv[i]);
                else
                        r = verify_file(c, &e, argv[i]);
        }
        if (r != STATUS_OK)
                return r;
        evidence_link(&e);
        return evidence_print(c, &e);
}

/* Programs of their own: `onchannel` speaks no TLS. */
static int become(struct cli *c, const char *program, char **argv)
{
        argv[0] = (char *)program;
        execvp(program, argv);
        for (char **option = argv; *option; option++)
                c->json = c->json || strcmp(*option, "--json") == 0;
        return cli_fail(c, STATUS_FAILED, "cannot start '%s': %s", program, strerror(errno));
}

static int command_export(struct cli *c, int argc, char **argv)
{
        return become(c, EXPORT_PROGRAM, argv);
}

static int command_witness(struct cli *c, int argc, char **argv)
{
        return become(c, WITNESS_PROGRAM, argv);
}

int command_evidence(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {
                {"verify", command_verify}, {"export", command_export}, {"witness", command_witness}, {0}};

        c->usage = usage;
        return cli_dispatch(c, verbs, argc, argv);
}
