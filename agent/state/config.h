/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* agent.ini(5): what the machine's owner decides about the agent. Every default stands in
 * config_parse(). Owns its strings; parsing does no I/O but asking for the host name. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/diag.h"
#include "base/prefix.h"
#include "trust/ring.h"

#define CONFIG_DEFAULT_STATE "/var/lib/onchannel"
#define CONFIG_KEPT          "agent.ini"
#define CONFIG_MAX_BYTES     (256u << 10)
#define CONFIG_PROTECT_MAX   1000
#define CONFIG_TAGS_MAX      64
#define CONFIG_HEARTBEAT_MAX 86400u /* seconds */

struct config_protect { /* a policy that would block it is refused */
        char *name; /* normalised, or NULL */
        char *program; /* path or base name, or NULL */
        struct prefix prefix; /* when both are NULL */
        char *why; /* "agent.ini:12: [collector] url" */
};

struct config {
        char *device;
        char *state;
        char *runtime;
        char *keys;
        char *catalogue;
        char *bpffs;
        char *cgroup; /* NULL: the root of the hierarchy */
        char *table;
        char *uplink_group;
        char *collector_url; /* NULL: no collector */
        char *collector_ca;
        uint32_t mark_mask;
        unsigned heartbeat; /* seconds */
        unsigned check; /* seconds between looks at what the agent has put in place */
        bool browser_manage;
        char **tags; /* words that a policy's groups name; NULL-terminated, or NULL */
        unsigned signatures[_TRUST_ROLE_MAX]; /* that are needed at least; 0: one */
        char *browser_root; /* without a slash at its end: "" is the machine's own */
        struct config_protect *protect; /* [protect] and the collector's host */
        size_t n_protect;
        char *text; /* as it was read */
        size_t text_size;
};

struct config *config_free(struct config *c); /* returns NULL */
static inline void config_freep(struct config **p)
{
        config_free(*p);
}
#define _cleanup_config_ _cleanup_(config_freep)

/* -EBADMSG malformed, -ENOTUNIQ a key given twice, -ERANGE a number out of its range. */
int config_parse(const char *text, size_t size, const char *file, struct config **ret, struct diag *reterr);
int config_load(const char *path, struct config **ret, struct diag *reterr);

/* What the agent has started with is kept as STATE/agent.ini, readable by the uplink's group, so that the next start has it when
 * agent.ini is broken or gone. 1 written, 0 it was there. */
int config_keep(const struct config *c);
/* The one that was kept, in the state folder that the file at `path` names, whatever else is wrong with that, else in the
 * default one. */
int config_load_kept(const char *path, struct config **ret, struct diag *reterr);

/* Host of "https://host[:port][/…]" into *ret (free()), brackets of IPv6 stripped. -EINVAL. */
int config_url_host(const char *url, char **ret);
