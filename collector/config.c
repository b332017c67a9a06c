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
#include "collector/store/db.h"

#define FORWARD    "forward " /* a section's first word */
#define AGENTS_MAX 1000000

void config_done(struct config *c)
{
        char *const owned[] = {c->dir,           c->agents,    c->page,          c->store,        c->device_ca,
                               c->device_ca_key, c->server_ca, c->server_ca_key, c->server,       c->server_key,
                               c->ini,           c->log_key,   c->metrics_token, c->exemption_key};

        for (size_t i = 0; i < ELEMENTSOF(owned); i++)
                free(owned[i]);
        forward_configs_done(&c->forward);
        *c = (struct config){0};
}

int config_paths(const char *dir, struct config *ret)
{
        _cleanup_(config_done) struct config c = {.dir = strdup(dir)};
        const struct {
                char **path;
                const char *name;
        } files[] = {
                {&c.ini, "collector.ini"},       {&c.store, "collector.db"},
                {&c.device_ca, "device-ca.pem"}, {&c.device_ca_key, "device-ca.key"},
                {&c.server_ca, "server-ca.pem"}, {&c.server_ca_key, "server-ca.key"},
                {&c.server, "server.pem"},       {&c.server_key, "server.key"},
                {&c.log_key, "log.key"},         {&c.exemption_key, "exemption.key"},
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
        r = forward_configs_check(&c.forward, c.ini, reterr);
        if (r < 0)
                return r;
        *ret = c;
        c = (struct config){0};
        return 0;
}
