/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/state/config.h"

#include <errno.h>
#include <grp.h>
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
                free(c->protect[i].program);
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
        for (char **t = c->tags; t && *t; t++)
                free(*t);
        free(c->tags);
        free(c->text);
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
        {"agent", "state", VALUE_PATH, offsetof(struct config, state), CONFIG_DEFAULT_STATE},
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

static int parse_tag(struct parser *p, const char *value, unsigned line, struct diag *reterr)
{
        size_t n = 0;
        char **list;

        if (!is_word(value))
                return refuse(p, line, reterr, "tag", "only letters, digits, '-', '_' and '.' (at most 64)");
        while (p->config->tags && p->config->tags[n])
                n++;
        if (n == CONFIG_TAGS_MAX)
                return diag_set(reterr, -E2BIG, p->file, line, "more than %d tags", CONFIG_TAGS_MAX);
        list = reallocarray(p->config->tags, n + 2, sizeof(*list));
        if (!list)
                return -ENOMEM;
        p->config->tags = list;
        list[n + 1] = NULL;
        list[n] = strdup(value);
        return list[n] ? 0 : -ENOMEM;
}

/* [trust] ROLE = NUMBER. -ENOENT no such role. */
static int parse_signatures(struct parser *p, const char *name, const char *value, unsigned line, struct diag *reterr)
{
        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++) {
                unsigned *slot = &p->config->signatures[role];
                uint64_t n;

                if (strcmp(name, trust_role_to_string(role)))
                        continue;
                if (*slot)
                        return diag_set(reterr, -ENOTUNIQ, p->file, line, "%s given twice", name);
                if (parse_u64(value, TRUST_SIGNATURES_MAX, &n) < 0 || n == 0)
                        return diag_set(reterr, -ERANGE, p->file, line, "%s: a number of signatures from 1 to %d",
                                        name, TRUST_SIGNATURES_MAX);
                *slot = (unsigned)n;
                return 0;
        }
        return -ENOENT;
}

/* Takes what `what` points to. */
static int protect_add(struct config *c, struct config_protect *what)
{
        struct config_protect *list = reallocarray(c->protect, c->n_protect + 1, sizeof(*list));

        if (list)
                c->protect = list;
        if (!list || !what->why) {
                free(what->name);
                free(what->program);
                free(what->why);
                return -ENOMEM;
        }
        list[c->n_protect++] = *what;
        return 0;
}

static int set_name(struct config_protect *t, const char *value)
{
        char domain[DOMAIN_NAME_MAX + 1];
        int r = domain_normalise(value, strlen(value), domain);

        if (r < 0)
                return r;
        t->name = strdup(domain);
        return t->name ? 0 : -ENOMEM;
}

static int set_program(struct config_protect *t, const char *value)
{
        if (!*value || (*value != '/' && strchr(value, '/')))
                return -EINVAL;
        t->program = strdup(value);
        return t->program ? 0 : -ENOMEM;
}

static int set_prefix(struct config_protect *t, const char *value)
{
        return prefix_parse(value, &t->prefix);
}

static int set_place(struct config_protect *t, const char *value)
{
        return set_prefix(t, value) >= 0 ? 0 : set_name(t, value);
}

static const struct {
        const char *name;
        int (*set)(struct config_protect *t, const char *value);
        const char *what;
} protect_keys[] = {
        {"name", set_name, "domain name"},
        {"prefix", set_prefix, "address prefix"},
        {"program", set_program, "path or base name of a program"},
        {"vpn", set_place, "domain name, address or prefix"},
        {"mirror", set_place, "domain name, address or prefix"},
        {"resolver", set_place, "domain name, address or prefix"},
        {"identity", set_place, "domain name, address or prefix"},
};

static int parse_protect(struct parser *p, const char *name, const char *value, unsigned line, struct diag *reterr)
{
        for (size_t i = 0; i < ELEMENTSOF(protect_keys); i++) {
                struct config_protect t = {0};
                int r;

                if (strcmp(name, protect_keys[i].name))
                        continue;
                if (p->config->n_protect >= CONFIG_PROTECT_MAX)
                        return diag_set(reterr, -E2BIG, p->file, line, "more than %d protected entries",
                                        CONFIG_PROTECT_MAX);
                r = protect_keys[i].set(&t, value);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        return diag_set(reterr, -EBADMSG, p->file, line, "%s: '%s' is no %s", name, value,
                                        protect_keys[i].what);
                t.why = format_new("%s:%u: [protect] %s", p->file, line, name);
                return protect_add(p->config, &t);
        }
        return -ENOENT;
}

static int parse_key(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                     struct diag *reterr)
{
        struct parser *p = userdata;
        int r;

        if (!name) {
                if (!strcmp(section, "agent") || !strcmp(section, "collector") || !strcmp(section, "protect") ||
                    !strcmp(section, "browser") || !strcmp(section, "trust"))
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
        if (!strcmp(section, "agent") && !strcmp(name, "tag"))
                return parse_tag(p, value, line, reterr);
        r = !strcmp(section, "trust")     ? parse_signatures(p, name, value, line, reterr)
            : !strcmp(section, "protect") ? parse_protect(p, name, value, line, reterr)
                                          : -ENOENT;
        return r == -ENOENT ? diag_set(reterr, -EBADMSG, p->file, line, "unknown key '%s' in [%s]", name, section)
                            : r;
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
        struct config_protect t = {0};
        _cleanup_free_ char *host = NULL;
        int r;

        if (!p->config->collector_url)
                return 0;
        r = config_url_host(p->config->collector_url, &host);
        if (r == -EINVAL)
                return refuse(p, p->url_line, reterr, "url", "expected https://HOST[:PORT]");
        if (r < 0)
                return r;
        r = strchr(host, '/') ? -EINVAL : set_place(&t, host);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(p, p->url_line, reterr, "url", "not a host name");
        t.why = format_new("%s:%u: [collector] url", p->file, p->url_line);
        return protect_add(p->config, &t);
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
        r = config_parse(text, size, path, ret, reterr);
        if (r < 0)
                return r;
        (*ret)->text = TAKE_PTR(text);
        (*ret)->text_size = size;
        return 0;
}

/* ---- the one of the last start ---- */

int config_keep(const struct config *c)
{
        const struct group *g = getgrnam(c->uplink_group);
        _cleanup_free_ char *path = format_new("%s/" CONFIG_KEPT, c->state), *kept = NULL;
        size_t size;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read(path, CONFIG_MAX_BYTES, &kept, &size);
        if (r >= 0 && size == c->text_size && memcmp(kept, c->text, size) == 0)
                return 0;
        r = file_write_atomic_for(path, c->text, c->text_size,
                                  &(struct file_access){0640, g ? g->gr_gid : (gid_t)-1});
        return r < 0 ? r : 1;
}

int config_load_kept(const char *path, struct config **ret, struct diag *reterr)
{
        _cleanup_free_ char *text = NULL, *state = NULL, *kept = NULL;
        size_t size;

        if (file_read(path, CONFIG_MAX_BYTES, &text, &size) >= 0)
                (void)ini_salvage(text, size, "state", &state); /* without: the default */
        kept = format_new("%s/" CONFIG_KEPT, state && *state == '/' ? state : CONFIG_DEFAULT_STATE);
        return kept ? config_load(kept, ret, reterr) : -ENOMEM;
}
