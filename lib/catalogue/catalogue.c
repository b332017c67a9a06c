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
        [ENTRY_SUFFIX] = "suffix",     [ENTRY_EXACT] = "exact",       [ENTRY_EXCEPT] = "except",
        [ENTRY_PROBE] = "probe",       [ENTRY_PREFIX] = "prefix",     [ENTRY_PROGRAM_NAME] = "name",
        [ENTRY_PROGRAM_PATH] = "path", [ENTRY_PROGRAM_ARGV] = "argv", [ENTRY_FLATPAK] = "flatpak",
        [ENTRY_SNAP] = "snap",         [ENTRY_PACKAGE] = "package",   [ENTRY_BUILD_ID] = "build_id",
        [ENTRY_SHA256] = "sha256",     [ENTRY_WEB_URL] = "url",       [ENTRY_WEB_PWA] = "pwa",
        [ENTRY_PORT_TCP] = "tcp",      [ENTRY_PORT_UDP] = "udp",
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

int catalogue_join(const struct catalogue *shipped, const struct catalogue *own, struct catalogue *ret,
                   struct diag *reterr)
{
        size_t n = shipped->n_channels + own->n_channels;
        struct catalogue all = {.version = shipped->version, .serial = shipped->serial};

        if (n > CATALOGUE_CHANNELS_MAX)
                return diag_set(reterr, -E2BIG, NULL, 0, "more than %d channels", CATALOGUE_CHANNELS_MAX);
        for (size_t i = 0; i < own->n_channels; i++)
                if (catalogue_find(shipped, own->channels[i].id))
                        return diag_set(reterr, -ENOTUNIQ, own->channels[i].file, own->channels[i].line,
                                        "the catalogue has a channel '%s': an own channel needs an id of its own",
                                        own->channels[i].id);
        _cleanup_free_ struct channel *channels = calloc(n ? n : 1, sizeof(*channels));
        if (!channels)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                channels[i] = i < shipped->n_channels ? shipped->channels[i] : own->channels[i - shipped->n_channels];
        all.channels = channels;
        all.n_channels = n;
        int r = catalogue_check_unique(&all, reterr); /* the later one is at fault: not sorted yet */
        if (r < 0)
                return r;
        qsort(channels, n, sizeof(*channels), channel_compare);
        *ret = all;
        TAKE_PTR(channels);
        return 0;
}
