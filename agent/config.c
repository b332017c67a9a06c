/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/config.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ini.h"
#include "base/io.h"
#include "base/text.h"

struct config *config_free(struct config *c)
{
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_protect; i++) {
                free(c->protect[i].name);
                free(c->protect[i].why);
        }
        free(c->protect);
        free(c->device);
        free(c->state);
        free(c->runtime);
        free(c->keys);
        free(c->catalogue);
        free(c->bpffs);
        free(c->cgroup);
        free(c->table);
        free(c->uplink_group);
        free(c->collector_url);
        free(c->collector_ca);
        free(c->browser_root);
        free(c);
        return NULL;
}

struct parser {
        const char *file;
        struct config *config;
        bool has_mask, has_heartbeat, has_check, has_manage;
        unsigned url_line;
};

enum value_kind {
        VALUE_PATH,
        VALUE_WORD, /* letters, digits, "-_." */
        VALUE_TEXT,
};

static const struct config_string {
        const char *section, *name;
        enum value_kind kind;
        size_t offset;
        const char *fallback;
} config_strings[] = {
        {"agent", "device", VALUE_WORD, offsetof(struct config, device), NULL},
        {"agent", "state", VALUE_PATH, offsetof(struct config, state), "/var/lib/onchannel"},
        {"agent", "runtime", VALUE_PATH, offsetof(struct config, runtime), "/run/onchannel"},
        {"agent", "keys", VALUE_PATH, offsetof(struct config, keys), "/etc/onchannel/keys"},
        {"agent", "catalogue", VALUE_PATH, offsetof(struct config, catalogue), "/usr/share/onchannel/catalogue.ini"},
        {"agent", "bpffs", VALUE_PATH, offsetof(struct config, bpffs), "/sys/fs/bpf/onchannel"},
        {"agent", "cgroup", VALUE_PATH, offsetof(struct config, cgroup), NULL},
        {"agent", "table", VALUE_WORD, offsetof(struct config, table), "onchannel"},
        {"agent", "uplink_group", VALUE_WORD, offsetof(struct config, uplink_group), "onchannel"},
        {"collector", "url", VALUE_TEXT, offsetof(struct config, collector_url), NULL},
        {"browser", "root", VALUE_PATH, offsetof(struct config, browser_root), "/"},
        {"collector", "ca", VALUE_PATH, offsetof(struct config, collector_ca), NULL},
};

static char **config_slot(struct config *c, const struct config_string *s)
{
        return (char **)((char *)c + s->offset);
}

static bool is_word(const char *s)
{
        return *s && strlen(s) <= 64 &&
               strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(s);
}

static int refuse(const struct parser *p, unsigned line, struct diag *reterr, const char *name, const char *what)
{
        return diag_set(reterr, -EBADMSG, p->file, line, "%s: %s", name, what);
}

static int parse_string(struct parser *p, const struct config_string *s, const char *value, unsigned line,
                        struct diag *reterr)
{
        char **slot = config_slot(p->config, s);

        if (*slot)
                return diag_set(reterr, -ENOTUNIQ, p->file, line, "%s given twice", s->name);
        if (!*value) {
                if (s->fallback)
                        return refuse(p, line, reterr, s->name, "empty");
                return 0;
        }
        if (s->kind == VALUE_PATH && *value != '/')
                return refuse(p, line, reterr, s->name, "not an absolute path");
        if (s->kind == VALUE_WORD && !is_word(value))
                return refuse(p, line, reterr, s->name, "only letters, digits, '-', '_' and '.' (at most 64)");
        *slot = strdup(value);
        if (!*slot)
                return -ENOMEM;
        if (slot == &p->config->collector_url)
                p->url_line = line;
        return 0;
}

/* Ten bits in a row: the mark holds a channel number there. */
static bool mask_fits(uint64_t mask)
{
        uint64_t bits = mask ? mask >> __builtin_ctzll(mask) : 0;

        return mask <= UINT32_MAX && bits >= 0x3ff && (bits & (bits + 1)) == 0;
}

static int parse_mask(struct parser *p, const char *value, unsigned line, struct diag *reterr)
{
        unsigned long long mask;
        char *end;

        if (p->has_mask)
                return diag_set(reterr, -ENOTUNIQ, p->file, line, "mark_mask given twice");
        errno = 0;
        mask = strtoull(value, &end, 0);
        if (errno || end == value || *end || *value == '-' || !mask_fits(mask))
                return diag_set(reterr, -ERANGE, p->file, line,
                                "mark_mask: needs ten or more bits in a row, e.g. 0x3ff00000");
        p->config->mark_mask = (uint32_t)mask;
        p->has_mask = true;
        return 0;
}

static int parse_seconds(struct parser *p, const char *name, const char *value, unsigned line, struct diag *reterr)
{
        bool is_check = !strcmp(name, "check"), *has = is_check ? &p->has_check : &p->has_heartbeat;
        uint64_t seconds;

        if (*has)
                return diag_set(reterr, -ENOTUNIQ, p->file, line, "%s given twice", name);
        if (parse_u64(value, CONFIG_HEARTBEAT_MAX, &seconds) < 0 || seconds == 0)
                return diag_set(reterr, -ERANGE, p->file, line, "%s: a number of seconds from 1 to %u", name,
                                CONFIG_HEARTBEAT_MAX);
        *(is_check ? &p->config->check : &p->config->heartbeat) = (unsigned)seconds;
        *has = true;
        return 0;
}

static int parse_manage(struct parser *p, const char *value, unsigned line, struct diag *reterr)
{
        if (p->has_manage)
                return diag_set(reterr, -ENOTUNIQ, p->file, line, "manage given twice");
        if (strcmp(value, "yes") && strcmp(value, "no"))
                return refuse(p, line, reterr, "manage", "yes or no");
        p->config->browser_manage = !strcmp(value, "yes");
        p->has_manage = true;
        return 0;
}

/* Takes `why`. */
static int protect_add(struct config *c, const char *name, const struct prefix *prefix, char *why)
{
        struct config_protect *list, *one;
        char *copy = name ? strdup(name) : NULL;

        list = reallocarray(c->protect, c->n_protect + 1, sizeof(*list));
        if (list)
                c->protect = list;
        if (!list || !why || (name && !copy)) {
                free(copy);
                free(why);
                return -ENOMEM;
        }
        one = &list[c->n_protect++];
        *one = (struct config_protect){.name = copy, .why = why};
        if (!name)
                one->prefix = *prefix;
        return 0;
}

static int parse_protect(struct parser *p, const char *name, const char *value, unsigned line)
{
        char domain[DOMAIN_NAME_MAX + 1];
        struct prefix prefix;

        if (p->config->n_protect >= CONFIG_PROTECT_MAX)
                return -E2BIG;
        if (!strcmp(name, "name")) {
                int r = domain_normalise(value, strlen(value), domain);

                return r < 0 ? r
                             : protect_add(p->config, domain, NULL,
                                           format_new("%s:%u: [protect] name", p->file, line));
        }
        int r = prefix_parse(value, &prefix);

        return r < 0 ? r
                     : protect_add(p->config, NULL, &prefix, format_new("%s:%u: [protect] prefix", p->file, line));
}

static int parse_key(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                     struct diag *reterr)
{
        struct parser *p = userdata;
        int r;

        if (!name) {
                if (!strcmp(section, "agent") || !strcmp(section, "collector") || !strcmp(section, "protect") ||
                    !strcmp(section, "browser"))
                        return 0;
                return diag_set(reterr, -EBADMSG, p->file, line, "unknown section [%s]", section);
        }
        for (size_t i = 0; i < ELEMENTSOF(config_strings); i++)
                if (!strcmp(section, config_strings[i].section) && !strcmp(name, config_strings[i].name))
                        return parse_string(p, &config_strings[i], value, line, reterr);
        if (!strcmp(section, "agent") && !strcmp(name, "mark_mask"))
                return parse_mask(p, value, line, reterr);
        if (!strcmp(section, "agent") && (!strcmp(name, "heartbeat") || !strcmp(name, "check")))
                return parse_seconds(p, name, value, line, reterr);
        if (!strcmp(section, "browser") && !strcmp(name, "manage"))
                return parse_manage(p, value, line, reterr);
        if (strcmp(section, "protect") || (strcmp(name, "name") && strcmp(name, "prefix")))
                return diag_set(reterr, -EBADMSG, p->file, line, "unknown key '%s' in [%s]", name, section);
        r = parse_protect(p, name, value, line);
        if (r == -E2BIG)
                return diag_set(reterr, r, p->file, line, "more than %d protected entries", CONFIG_PROTECT_MAX);
        if (r < 0)
                return diag_set(reterr, -EBADMSG, p->file, line, "%s: '%s' is no %s", name, value,
                                !strcmp(name, "name") ? "domain name" : "address prefix");
        return 0;
}

int config_url_host(const char *url, char **ret)
{
        static const char scheme[] = "https://";
        const char *host, *end;
        char *copy;

        if (!text_starts_with(url, scheme))
                return -EINVAL;
        host = url + strlen(scheme);
        if (*host == '[') {
                end = strchr(++host, ']');
                if (!end || !strchr(":/", end[1]))
                        return -EINVAL;
        } else
                end = host + strcspn(host, ":/?#@");
        if (end == host || *end == '@')
                return -EINVAL;
        copy = strndup(host, (size_t)(end - host));
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static int protect_collector(struct parser *p, struct diag *reterr)
{
        _cleanup_free_ char *host = NULL;
        char domain[DOMAIN_NAME_MAX + 1];
        struct prefix prefix;
        char *why;
        int r;

        if (!p->config->collector_url)
                return 0;
        r = config_url_host(p->config->collector_url, &host);
        if (r == -EINVAL)
                return refuse(p, p->url_line, reterr, "url", "expected https://HOST[:PORT]");
        if (r < 0)
                return r;
        why = format_new("%s:%u: [collector] url", p->file, p->url_line);
        if (!strchr(host, '/') && prefix_parse(host, &prefix) >= 0)
                return protect_add(p->config, NULL, &prefix, why);
        if (domain_normalise(host, strlen(host), domain) < 0) {
                free(why);
                return refuse(p, p->url_line, reterr, "url", "not a host name");
        }
        return protect_add(p->config, domain, NULL, why);
}

static int config_fill(struct config *c)
{
        char host[65] = "";

        for (size_t i = 0; i < ELEMENTSOF(config_strings); i++) {
                char **slot = config_slot(c, &config_strings[i]);

                if (!*slot && config_strings[i].fallback && !(*slot = strdup(config_strings[i].fallback)))
                        return -ENOMEM;
        }
        for (size_t n = strlen(c->browser_root); n > 0 && c->browser_root[n - 1] == '/'; n--)
                c->browser_root[n - 1] = '\0';
        if (c->device)
                return 0;
        if (gethostname(host, sizeof(host) - 1) < 0 || !is_word(host))
                strcpy(host, "localhost");
        c->device = strdup(host);
        return c->device ? 0 : -ENOMEM;
}

int config_parse(const char *text, size_t size, const char *file, struct config **ret, struct diag *reterr)
{
        _cleanup_config_ struct config *c = calloc(1, sizeof(*c));
        struct parser p = {.file = file, .config = c};
        int r;

        if (!c)
                return -ENOMEM;
        c->mark_mask = 0x3ff00000;
        c->heartbeat = 300;
        c->check = 10;
        c->browser_manage = true;
        r = ini_parse_text(text, size, file, parse_key, &p, reterr);
        if (r < 0)
                return r;
        r = protect_collector(&p, reterr);
        if (r < 0)
                return r;
        r = config_fill(c);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

int config_load(const char *path, struct config **ret, struct diag *reterr)
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = file_read(path, CONFIG_MAX_BYTES, &text, &size);
        if (r == -EFBIG)
                return diag_set(reterr, r, path, 0, "larger than %u bytes", CONFIG_MAX_BYTES);
        if (r == -ENOENT)
                return diag_set(reterr, r, path, 0, "not there: agent.ini(5) shows one, and --config names another");
        if (r < 0)
                return diag_set(reterr, r, path, 0, "%s", strerror(-r));
        return config_parse(text, size, path, ret, reterr);
}
