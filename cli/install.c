/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `onchannel policy install` and `catalogue install`: a signed file to the agent on this machine. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "catalogue/catalogue.h"
#include "cli/cli.h"
#include "policy/policy.h"
#include "trust/trust.h"

#define ANSWER_TRIES       100
#define ANSWER_INTERVAL_NS 100000000 /* ten seconds in all */

struct install {
        const char *role; /* "policy" or "catalogue": its name in the incoming folder and in the status */
        size_t max_bytes;
        const char *file;
        const char *incoming; /* NULL: the agent says where */
        const json_t *before; /* what was refused until now is not the answer */
        char hash[2 * crypto_hash_sha256_BYTES + 1];
};

static int copy_into(const struct cli *c, struct install *in, const char *incoming)
{
        _cleanup_free_ char *minisig = format_new("%s.minisig", in->file), *text = NULL, *signature = NULL;
        _cleanup_free_ char *to = format_new("%s/%s.ini", incoming, in->role);
        _cleanup_free_ char *to_signature = format_new("%s/%s.ini.minisig", incoming, in->role);
        uint8_t hash[crypto_hash_sha256_BYTES];
        size_t size, signature_size;
        int status;

        if (!minisig || !to || !to_signature)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        status = read_input(c, in->file, in->max_bytes, &text, &size);
        if (status == STATUS_OK)
                status = read_input(c, minisig, TRUST_SIGNATURE_MAX_BYTES, &signature, &signature_size);
        if (status != STATUS_OK)
                return status;
        crypto_hash_sha256(hash, (const uint8_t *)text, size);
        hex_encode(hash, sizeof(hash), in->hash);
        status = write_output(c, to_signature, signature, signature_size, 0644);
        return status == STATUS_OK ? write_output(c, to, text, size, 0644) : status;
}

static int print_accepted(const struct cli *c, const struct install *in, const json_t *o)
{
        const char *mode = json_text(o, "mode"), *version = json_text(o, "version");

        if (c->json)
                return print_json(json_pack("{s:b,s:b,s:O}", "ok", 1, "accepted", 1, in->role, o));
        print_line("%s: in force, serial %" PRId64 ", %s %s", in->file, (int64_t)json_number(o, "serial"),
                   *mode ? "mode" : "version", *mode ? mode : version);
        if (json_is_true(json_object_get(o, "expired")))
                print_line("warning: it expired at %s: it is in force, and every coverage record says so",
                           json_text(o, "expires"));
        return STATUS_OK;
}

static int print_refused(const struct cli *c, const struct install *in, const json_t *refused)
{
        struct diag d = {.line = (unsigned)json_number(refused, "line")};

        diag_set(&d, 0, in->file, (unsigned)json_number(refused, "line"), "%s", json_text(refused, "reason"));
        return cli_fail_diag(c, &d, -EINVAL);
}

/* The agent names files by their hash, accepted or refused. */
static int wait_for_answer(const struct cli *c, const struct install *in)
{
        const struct timespec interval = {.tv_nsec = ANSWER_INTERVAL_NS};

        for (int i = 0; i < ANSWER_TRIES; i++) {
                json_auto_t *status = NULL;
                const json_t *held, *refused;
                int r;

                r = agent_ask_status(c, &status);
                if (r != STATUS_OK)
                        return r;
                held = json_object_get(status, in->role);
                refused = json_object_get(held, "refused");
                if (!strcmp(json_text(refused, "hash"), in->hash) && !json_equal(refused, in->before))
                        return print_refused(c, in, refused);
                if (!strcmp(json_text(held, "hash"), in->hash))
                        return print_accepted(c, in, held);
                nanosleep(&interval, NULL);
        }
        return cli_fail(c, STATUS_FAILED, "the agent did not say within ten seconds what it thinks of '%s'",
                        in->file);
}

static int install(struct cli *c, struct install in, int argc, char **argv)
{
        const struct cli_option options[] = {{"incoming", 0, &in.incoming, NULL}, {0}};
        json_auto_t *status = NULL;
        const char *incoming;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1)
                return cli_usage(c, r);
        in.file = argv[0];
        r = agent_ask_status(c, &status);
        if (r != STATUS_OK)
                return r;
        in.before = json_object_get(json_object_get(status, in.role), "refused");
        incoming = in.incoming ? in.incoming : json_text(status, "incoming");
        r = copy_into(c, &in, incoming);
        return r == STATUS_OK ? wait_for_answer(c, &in) : r;
}

int command_policy_install(struct cli *c, int argc, char **argv)
{
        return install(c, (struct install){.role = "policy", .max_bytes = POLICY_MAX_BYTES}, argc, argv);
}

int command_catalogue_install(struct cli *c, int argc, char **argv)
{
        return install(c, (struct install){.role = "catalogue", .max_bytes = CATALOGUE_MAX_BYTES}, argc, argv);
}
