/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/bundle.h"

#define KEYS_FILE_MAX 8192
#define HEARTBEAT_S   300 /* agent.ini's default */

bool bundle_is(const char *path)
{
        _cleanup_(bundle_reader_freep) struct bundle_reader *r = NULL;
        struct diag d;
        const char *line;
        size_t size;
        bool whole;

        return bundle_reader_open(path, &r, &d) == 0 && bundle_reader_line(r, &line, &size, &whole, &d) > 0 &&
               size > 14 && memcmp(line, "{\"onchannel\":", 13) == 0;
}

static int key_add(const struct cli *c, const char *source, const char *vkey, struct note_key *list, size_t *n)
{
        if (*n == VERIFY_KEYS_MAX)
                return cli_fail(c, STATUS_USAGE, "more than %d keys", VERIFY_KEYS_MAX);
        if (note_key_parse(vkey, &list[*n]) < 0)
                return cli_fail(c, STATUS_USAGE, "'%s' is neither a verifier key (NAME+ID+KEY) nor a file of such",
                                source);
        ++*n;
        return STATUS_OK;
}

static int keys_read(const struct cli *c, const char *source, struct note_key *list, size_t *n)
{
        _cleanup_free_ char *text = NULL;
        char *rest = NULL;
        size_t size;
        int r = STATUS_OK;

        if (file_read(source, KEYS_FILE_MAX, &text, &size) < 0)
                return key_add(c, source, source, list, n);
        for (char *line = strtok_r(text, "\r\n", &rest); line && r == STATUS_OK; line = strtok_r(NULL, "\r\n", &rest))
                r = key_add(c, source, line, list, n);
        return r;
}

int bundle_options(const struct cli *c, const struct bundle_arguments *a, struct verify_options *ret)
{
        int r = STATUS_OK;

        *ret = (struct verify_options){.heartbeat_s = HEARTBEAT_S};
        if (a->heartbeat && (parse_u64(a->heartbeat, 86400, &ret->heartbeat_s) < 0 || ret->heartbeat_s == 0))
                return cli_fail(c, STATUS_USAGE, "--heartbeat: 1 to 86400 seconds");
        if (a->log_key)
                r = keys_read(c, a->log_key, ret->keys, &ret->n_keys);
        if (r == STATUS_OK && a->witness)
                r = keys_read(c, a->witness, ret->witnesses, &ret->n_witnesses);
        return r;
}

int bundle_verify(const struct cli *c, const char *path, const struct verify_options *o)
{
        _cleanup_(bundle_reader_freep) struct bundle_reader *reader = NULL;
        _cleanup_(verify_freep) struct verify *v = verify_new(o);
        struct diag d = {0};
        bool whole = false;
        const char *line;
        size_t size;
        int r = v ? bundle_reader_open(path, &reader, &d) : -ENOMEM;

        if (r < 0)
                return *d.text ? cli_fail_diag(c, &d, r) : cli_fail(c, STATUS_FAILED, "no memory");
        while ((r = bundle_reader_line(reader, &line, &size, &whole, &d)) > 0)
                verify_line(v, line, size);
        if (r < 0 && r != -EBADMSG && r != -E2BIG)
                return *d.text ? cli_fail_diag(c, &d, r) : cli_fail(c, STATUS_FAILED, "no memory");
        if (r < 0)
                verify_problem(v, NULL, 0, "%s", d.text);
        verify_end(v, whole);
        return bundle_print(c, v);
}
