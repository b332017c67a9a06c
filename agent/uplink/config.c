/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/ini.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#define CONFIG_MAX_BYTES (256u << 10)
#define DEFAULT_STATE    "/var/lib/onchannel"

static const struct {
        const char *section, *name, *fallback;
        size_t offset;
} keys[] = {
        {"agent", "device", NULL, offsetof(struct uplink_config, device)},
        {"agent", "state", DEFAULT_STATE, offsetof(struct uplink_config, state)},
        {"agent", "runtime", "/run/onchannel", offsetof(struct uplink_config, runtime)},
        {"collector", "url", NULL, offsetof(struct uplink_config, url)},
        {"collector", "ca", NULL, offsetof(struct uplink_config, ca)},
};

static char **slot(struct uplink_config *c, size_t offset)
{
        return (char **)((char *)c + offset);
}

void uplink_config_done(struct uplink_config *c)
{
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                freep(slot(c, keys[i].offset));
        *c = (struct uplink_config){0};
}

int uplink_url_set(struct uplink_config *c, const char *url)
{
        size_t n = strlen(url);
        char *copy;

        if (!text_starts_with(url, "https://") || n == strlen("https://") || n > INI_LINE_MAX)
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                if (url[i] <= ' ' || url[i] > '~')
                        return -EINVAL;
        while (url[n - 1] == '/')
                n--;
        copy = strndup(url, n);
        if (!copy)
                return -ENOMEM;
        freep(&c->url);
        c->url = copy;
        return 0;
}

struct parser {
        struct uplink_config *config;
        const char *file;
};

static int on_key(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                  struct diag *reterr)
{
        struct parser *p = userdata;
        char **text;

        for (size_t i = 0; name && i < ELEMENTSOF(keys); i++) {
                if (strcmp(section, keys[i].section) != 0 || strcmp(name, keys[i].name) != 0)
                        continue;
                text = slot(p->config, keys[i].offset);
                if (*text)
                        return diag_set(reterr, -ENOTUNIQ, p->file, line, "%s given twice", name);
                if (!*value)
                        return 0;
                if (text == &p->config->url) {
                        if (uplink_url_set(p->config, value) < 0)
                                return diag_set(reterr, -EBADMSG, p->file, line, "url: not https://HOST[:PORT]");
                        return 0;
                }
                *text = strdup(value);
                return *text ? 0 : -ENOMEM;
        }
        return 0;
}

int uplink_config_parse(const char *text, size_t size, const char *file, struct uplink_config *ret,
                        struct diag *reterr)
{
        _cleanup_(uplink_config_done) struct uplink_config c = {0};
        struct parser p = {.config = &c, .file = file};
        char host[HOST_NAME_MAX + 1];
        int r;

        r = ini_parse_text(text, size, file, on_key, &p, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                char **value = slot(&c, keys[i].offset);

                if (*value || !keys[i].fallback)
                        continue;
                *value = strdup(keys[i].fallback);
                if (!*value)
                        return -ENOMEM;
        }
        if (!c.device && gethostname(host, sizeof(host)) == 0)
                c.device = strndup(host, sizeof(host));
        if (!c.device)
                return -ENOMEM;
        *ret = c;
        c = (struct uplink_config){0};
        return 0;
}

int uplink_config_load(const char *path, struct uplink_config *ret, struct diag *reterr)
{
        _cleanup_free_ char *text = NULL, *state = NULL, *kept = NULL;
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 32];
        size_t size;
        int r;

        r = file_read(path, CONFIG_MAX_BYTES, &text, &size);
        if (r < 0)
                diag_set(reterr, r, path, 0, "cannot read it: %s", strerror(-r));
        else
                r = uplink_config_parse(text, size, path, ret, reterr);
        if (r >= 0)
                return r;
        if (text)
                (void)ini_salvage(text, size, "state", &state); /* without: the default */
        freep(&text);
        kept = format_new("%s/agent.ini", state && *state == '/' ? state : DEFAULT_STATE);
        if (!kept || file_read(kept, CONFIG_MAX_BYTES, &text, &size) < 0 ||
            uplink_config_parse(text, size, kept, ret, NULL) < 0)
                return r;
        log_line(LOG_ERR, "%s", diag_format_log(reterr, where, sizeof(where)));
        log_line(LOG_WARNING, "going on with '%s', that of the agent's last start", kept);
        return 0;
}
