/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/config.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/ini.h"
#include "base/io.h"
#include "base/text.h"
#include "collector/net/pki.h"
#include "collector/store/db.h"

#define FORWARD      "forward " /* a section's first word */
#define GRACE_S      (90u * 86400)
#define DURATION_MAX (3650ull * 86400) /* seconds */
#define AGENTS_MAX   1000000

void config_done(struct config *c)
{
        char *const owned[] = {c->dir,           c->agents,       c->page,          c->store,   c->device_ca,
                               c->device_ca_key, c->server_ca,    c->server_ca_key, c->server,  c->server_key,
                               c->ini,           c->log_key,      c->metrics_token, c->next_ca, c->next_ca_key,
                               c->old_ca,        c->exemption_key};

        for (size_t i = 0; i < ELEMENTSOF(owned); i++)
                free(owned[i]);
        firm_done(&c->firm);
        forward_configs_done(&c->forward);
        *c = (struct config){0};
}

int config_paths(const char *dir, struct config *ret)
{
        _cleanup_(config_done) struct config c = {
                .dir = strdup(dir), .lifetime_s = PKI_LIFETIME_S, .grace_s = GRACE_S};
        const struct {
                char **path;
                const char *name;
        } files[] = {
                {&c.ini, "collector.ini"},
                {&c.store, "collector.db"},
                {&c.device_ca, "device-ca.pem"},
                {&c.device_ca_key, "device-ca.key"},
                {&c.server_ca, "server-ca.pem"},
                {&c.server_ca_key, "server-ca.key"},
                {&c.server, "server.pem"},
                {&c.server_key, "server.key"},
                {&c.log_key, "log.key"},
                {&c.next_ca, "server-ca-next.pem"},
                {&c.next_ca_key, "server-ca-next.key"},
                {&c.old_ca, "server-ca-old.pem"},
                {&c.exemption_key, "exemption.key"},
        };

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                if (!(*files[i].path = format_new("%s/%s", dir, files[i].name)))
                        return -ENOMEM;
        if (!c.dir)
                return -ENOMEM;
        *ret = c;
        c = (struct config){0};
        return 0;
}

/* Replaces the file in the folder. */
static int store_set(struct config *c, const char *value, unsigned line, struct diag *reterr)
{
        char *text;

        if (!db_is_url(value))
                return diag_set(reterr, -EBADMSG, c->ini, line, "store is not postgresql://…");
        if (db_is_url(c->store))
                return diag_set(reterr, -ENOTUNIQ, c->ini, line, "'store' is given twice");
        text = strdup(value);
        if (!text)
                return -ENOMEM;
        free(c->store);
        c->store = text;
        return 0;
}

static int agents_max_set(struct config *c, const char *value, unsigned line, struct diag *reterr)
{
        uint64_t n;

        if (parse_u64(value, AGENTS_MAX, &n) < 0 || n == 0)
                return diag_set(reterr, -EBADMSG, c->ini, line, "agents_max is not 1 to %d", AGENTS_MAX);
        if (c->agents_max)
                return diag_set(reterr, -ENOTUNIQ, c->ini, line, "'agents_max' is given twice");
        c->agents_max = (unsigned)n;
        return 0;
}

/* "365d", "12h", "30s" */
static int duration_parse(const char *value, uint64_t *ret_s)
{
        static const struct {
                char unit;
                unsigned seconds;
        } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
        size_t n = strlen(value);
        char digits[16] = "";
        uint64_t number;

        if (n > 1 && n < sizeof(digits))
                memcpy(digits, value, n - 1);
        for (size_t i = 0; i < ELEMENTSOF(units) && *digits; i++)
                if (value[n - 1] == units[i].unit &&
                    parse_u64(digits, DURATION_MAX / units[i].seconds, &number) == 0) {
                        *ret_s = number * units[i].seconds;
                        return 0;
                }
        return -EBADMSG;
}

/* [devices] */
static int on_devices_key(struct config *c, const char *name, const char *value, struct diag *d)
{
        const struct {
                const char *name;
                char **text;
        } texts[] = {{"ca", &c->firm.ca}, {"crl", &c->firm.crl}, {"domain", &c->firm.domain}, {"eku", &c->firm.eku}};

        if (strcmp(name, "lifetime") == 0 || strcmp(name, "grace") == 0)
                return duration_parse(value, *name == 'l' ? &c->lifetime_s : &c->grace_s) == 0
                               ? 0
                               : diag_set(d, -EBADMSG, c->ini, d->line,
                                          "%s is a time such as 365d, 12h or 30m, not '%s'", name, value);
        if (strcmp(name, "name") == 0) {
                c->firm.by_dns = strcmp(value, "dns") == 0;
                return c->firm.by_dns || strcmp(value, "cn") == 0
                               ? 0
                               : diag_set(d, -EBADMSG, c->ini, d->line, "name is cn or dns, not '%s'", value);
        }
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                if (strcmp(name, texts[i].name) != 0)
                        continue;
                if (*texts[i].text)
                        return diag_set(d, -ENOTUNIQ, c->ini, d->line, "'%s' is given twice", name);
                if (i < 2 && access(value, R_OK) < 0)
                        return diag_set(d, -EBADMSG, c->ini, d->line, "%s '%s': %s", name, value, strerror(errno));
                return (*texts[i].text = strdup(value)) ? 0 : -ENOMEM;
        }
        return diag_set(d, -EBADMSG, c->ini, d->line, "unknown key '%s' in [devices]", name);
}

static int on_key(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                  struct diag *reterr)
{
        struct config *c = userdata;
        char host[HTTP_HOST_MAX], port[6];
        struct stat st;
        char **field;

        if (strncmp(section, FORWARD, strlen(FORWARD)) == 0) {
                const struct forward_key k = {c->ini, section + strlen(FORWARD), name, value, line};

                return forward_config_set(&c->forward, &k, reterr);
        }
        if (strcmp(section, "devices") == 0) {
                struct diag d = {.line = line};
                int r = name ? on_devices_key(c, name, value, &d) : 0;

                if (r < 0 && reterr)
                        *reterr = d;
                return r;
        }
        if (strcmp(section, "collector") != 0)
                return diag_set(reterr, -EBADMSG, c->ini, line, "unknown section [%s]", section);
        if (!name)
                return 0;
        if (strcmp(name, "agents_max") == 0)
                return agents_max_set(c, value, line, reterr);
        if (strcmp(name, "store") == 0)
                return store_set(c, value, line, reterr);
        field = strcmp(name, "agents") == 0          ? &c->agents
                : strcmp(name, "page") == 0          ? &c->page
                : strcmp(name, "metrics_token") == 0 ? &c->metrics_token
                                                     : NULL;
        if (!field)
                return diag_set(reterr, -EBADMSG, c->ini, line, "unknown key '%s'", name);
        if (*field)
                return diag_set(reterr, -ENOTUNIQ, c->ini, line, "'%s' is given twice", name);
        if (field == &c->metrics_token) {
                if (stat(value, &st) < 0 || (st.st_mode & 077) != 0)
                        return diag_set(reterr, -EBADMSG, c->ini, line, "metrics_token '%s' %s", value,
                                        access(value, F_OK) < 0 ? "is not there"
                                                                : "can be read by others: chmod 600");
        } else if (http_address_parse(value, host, port) < 0)
                return diag_set(reterr, -EBADMSG, c->ini, line, "'%s' is not ADDRESS:PORT, [IPV6]:PORT or *:PORT",
                                value);
        return (*field = strdup(value)) ? 0 : -ENOMEM;
}

int config_load(const char *dir, struct config *ret, struct diag *reterr)
{
        _cleanup_(config_done) struct config c = {0};
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = config_paths(dir, &c);

        if (r < 0)
                return r;
        r = file_read(c.ini, CONFIG_MAX_BYTES, &text, &size);
        if (r == -ENOENT || r == -ENOTDIR)
                return diag_set(reterr, r, c.ini, 0, "not there: make it with 'onchannel-collector init %s'", dir);
        if (r < 0)
                return diag_set(reterr, r, c.ini, 0, "cannot be read: %s", strerror(-r));
        r = ini_parse_text(text, size, c.ini, on_key, &c, reterr);
        if (r < 0)
                return r;
        if (!c.agents || !c.page)
                return diag_set(reterr, -EBADMSG, c.ini, 0, "'%s' is missing", c.agents ? "page" : "agents");
        if (c.lifetime_s == 0 || (c.firm.crl && !c.firm.ca))
                return diag_set(reterr, -EBADMSG, c.ini, 0,
                                c.lifetime_s ? "[devices]: crl without ca" : "[devices]: lifetime is 0");
        r = forward_configs_check(&c.forward, c.ini, reterr);
        if (r < 0)
                return r;
        *ret = c;
        c = (struct config){0};
        return 0;
}
