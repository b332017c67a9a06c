/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fleet-agent STATE RUNTIME KEYS CATALOGUE NAME: an agent without eBPF and nftables, so that hundreds fit on one machine.
 * It has the real agent's policy store, compiler and state folder, and writes a status.json with what the uplink and the
 * collector look at. The exit of its parent ends it. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include "agent/report/internal.h"
#include "agent/state/store.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "rules/rules.h"

#define LOOK_MS 100 /* inotify has 128 instances a user, all of these are root's */

struct fleet {
        const char *state, *runtime, *name;
        struct store *store;
        struct diag refused;
};

static int compile(struct fleet *f, const struct stored *policy, struct diag *reterr)
{
        _cleanup_ruleset_ struct ruleset *rules = NULL;
        const struct rules_input in = {.catalogue = f->store->catalogue->catalogue,
                                       .own = policy->own,
                                       .policy = policy->policy,
                                       .policy_file = policy->file,
                                       .device = f->name,
                                       .now = time(NULL)};

        return rules_compile(&in, &rules, reterr);
}

static int status_write(const struct fleet *f)
{
        _cleanup_free_ char *path = format_new("%s/status.json", f->runtime), *text = NULL;
        const struct stored *p = f->store->policy;
        json_auto_t *o = json_pack("{s:s,s:o}", "device", f->name, "policy",
                                   p ? json_pack("{s:I,s:s}", "serial", (json_int_t)p->serial, "mode",
                                                 policy_mode_to_string(p->policy->mode))
                                     : json_pack("{s:n,s:s}", "serial", "mode", "none"));

        if (o && *f->refused.text)
                json_object_set_new(json_object_get(o, "policy"), "refused",
                                    json_pack("{s:s,s:i,s:s}", "file", f->refused.file, "line", (int)f->refused.line,
                                              "reason", f->refused.text));
        text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        return path && text ? file_write_atomic(path, text, strlen(text), 0644) : -ENOMEM;
}

static int take_incoming(struct fleet *f)
{
        struct stored *s = NULL;
        struct diag d = {0};
        int r = store_read_incoming(f->store, STORE_POLICY, time(NULL), &s, &d);

        if (r == -ENOENT || r == -EALREADY)
                return 0;
        if (r == 0)
                r = compile(f, s, &d);
        f->refused = d;
        if (r == 0)
                r = store_commit(f->store, s);
        else
                stored_free(s);
        return status_write(f);
}

int main(int argc, char **argv)
{
        struct fleet f = {0};
        uint8_t public[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
        struct diag d = {0};
        struct stored *catalogue;

        if (argc != 6 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return 2;
        f.state = argv[1];
        f.runtime = argv[2];
        f.name = argv[5];
        if (device_key_load(f.state, public, secret) < 0 ||
            store_new(&(struct store_options){.state_dir = f.state, .keys_dir = argv[3], .catalogue = argv[4]},
                      &f.store, &d) < 0 ||
            store_load_catalogue(f.store, &catalogue, &d) < 0 || status_write(&f) < 0) {
                fprintf(stderr, "%s: %s %s\n", f.name, d.file, d.text);
                return 1;
        }
        while (take_incoming(&f) == 0)
                poll(NULL, 0, LOOK_MS);
        return 1;
}
