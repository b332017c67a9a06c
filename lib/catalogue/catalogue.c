/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "catalogue/catalogue.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "catalogue/internal.h"

static const char *const category_names[] = {
        [CATEGORY_MESSENGER] = "messenger",
        [CATEGORY_WORKPLACE] = "workplace",
        [CATEGORY_SOCIAL] = "social",
        [CATEGORY_VOICE] = "voice",
        [CATEGORY_IRC_XMPP_MATRIX] = "irc-xmpp-matrix",
        [CATEGORY_GAMING] = "gaming",
        [CATEGORY_SMS_BRIDGE] = "sms-bridge",
        [CATEGORY_WRAPPER] = "wrapper",
        [CATEGORY_ENCRYPTED_DNS] = "encrypted-dns",
        [CATEGORY_TUNNEL] = "tunnel",
        [CATEGORY_ANONYMISER] = "anonymiser",
        [CATEGORY_RELAY] = "relay",
};
_Static_assert(ELEMENTSOF(category_names) == _CATEGORY_MAX, "a category has no name");

static const char *const kind_names[] = {
        [ENTRY_SUFFIX] = "suffix",     [ENTRY_EXACT] = "exact",       [ENTRY_PREFIX] = "prefix",
        [ENTRY_PROGRAM_NAME] = "name", [ENTRY_PROGRAM_PATH] = "path", [ENTRY_PROGRAM_ARGV] = "argv",
        [ENTRY_FLATPAK] = "flatpak",   [ENTRY_SNAP] = "snap",         [ENTRY_PACKAGE] = "package",
        [ENTRY_BUILD_ID] = "build_id", [ENTRY_SHA256] = "sha256",     [ENTRY_WEB_URL] = "url",
        [ENTRY_WEB_PWA] = "pwa",       [ENTRY_PORT_TCP] = "tcp",      [ENTRY_PORT_UDP] = "udp",
};
_Static_assert(ELEMENTSOF(kind_names) == _ENTRY_KIND_MAX, "an entry kind has no name");

const char *category_to_string(enum category c)
{
        return c < _CATEGORY_MAX ? category_names[c] : NULL;
}

int category_from_string(const char *s, enum category *ret)
{
        for (size_t i = 0; i < ELEMENTSOF(category_names); i++)
                if (strcmp(s, category_names[i]) == 0) {
                        *ret = (enum category)i;
                        return 0;
                }
        return -EINVAL;
}

const char *entry_kind_to_string(enum entry_kind k)
{
        return k < _ENTRY_KIND_MAX ? kind_names[k] : NULL;
}

void channel_done(struct channel *c)
{
        free(c->id);
        free(c->name);
        free(c->vendor);
        free(c->homepage);
        free(c->source);
        free(c->file);
        for (size_t i = 0; i < c->n_entries; i++)
                free(c->entries[i].value);
        free(c->entries);
        *c = (struct channel){};
}

struct catalogue *catalogue_free(struct catalogue *c)
{
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_channels; i++)
                channel_done(&c->channels[i]);
        free(c->channels);
        free(c->version);
        free(c);
        return NULL;
}

static int compare_id(const void *key, const void *channel)
{
        return strcmp(key, ((const struct channel *)channel)->id);
}

const struct channel *catalogue_find(const struct catalogue *c, const char *id)
{
        return c->n_channels ? bsearch(id, c->channels, c->n_channels, sizeof(*c->channels), compare_id) : NULL;
}
