/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The catalogue: every channel known, from rules/channels/NAME.ini files or from one built
 * file. Owns its strings. Parsing does no I/O. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "base/diag.h"
#include "base/prefix.h"

#define CATALOGUE_MAX_BYTES    (64u << 20)
#define CATALOGUE_CHANNELS_MAX 1000 /* a channel number must fit the mark mask's ten bits */
#define CHANNEL_ID_MAX         32 /* [a-z0-9][a-z0-9-]* */

enum category {
        CATEGORY_MESSENGER,
        CATEGORY_WORKPLACE,
        CATEGORY_SOCIAL,
        CATEGORY_VOICE,
        CATEGORY_IRC_XMPP_MATRIX,
        CATEGORY_GAMING,
        CATEGORY_SMS_BRIDGE,
        CATEGORY_WRAPPER,
        CATEGORY_ENCRYPTED_DNS, /* from here on: bypass categories */
        CATEGORY_TUNNEL,
        CATEGORY_ANONYMISER,
        CATEGORY_RELAY,
        _CATEGORY_MAX,
};

const char *category_to_string(enum category c); /* "irc-xmpp-matrix" */
int category_from_string(const char *s, enum category *ret); /* -EINVAL */
static inline bool category_is_bypass(enum category c)
{
        return c >= CATEGORY_ENCRYPTED_DNS;
}

enum entry_kind {
        ENTRY_SUFFIX, /* [names] suffix: this name and all below it */
        ENTRY_EXACT, /* [names] exact */
        ENTRY_EXCEPT, /* [names] except: below a suffix of the channel, yet no evidence of it */
        ENTRY_PROBE, /* [names] probe: exact, what programs ask for by themselves to learn whether the channel is wanted;
                        judged as it is, and nobody's attempt */
        ENTRY_PREFIX, /* [addresses] prefix */
        ENTRY_PROGRAM_NAME, /* [programs] name: base name of the executable */
        ENTRY_PROGRAM_PATH, /* path: fnmatch(3) pattern, '*' crosses no '/' */
        ENTRY_PROGRAM_ARGV, /* argv: fnmatch pattern against one argument */
        ENTRY_FLATPAK,
        ENTRY_SNAP,
        ENTRY_PACKAGE,
        ENTRY_BUILD_ID,
        ENTRY_SHA256,
        ENTRY_WEB_URL, /* [web] url */
        ENTRY_WEB_PWA, /* pwa: 32 letters a-p */
        ENTRY_PORT_TCP, /* [ports] tcp: a hint, never evidence by itself */
        ENTRY_PORT_UDP,
        _ENTRY_KIND_MAX,
};

const char *entry_kind_to_string(enum entry_kind k); /* the key: "suffix", "name", "url", … */
/* A domain name: of [names]. */
static inline bool entry_is_domain(enum entry_kind k)
{
        return k == ENTRY_SUFFIX || k == ENTRY_EXACT || k == ENTRY_EXCEPT || k == ENTRY_PROBE;
}

struct entry {
        enum entry_kind kind;
        unsigned line; /* in the channel's own file */
        char *value; /* names are normalised */
        struct prefix prefix; /* ENTRY_PREFIX */
        uint16_t port; /* ENTRY_PORT_* */
};

struct channel {
        char *id;
        char *name;
        char *vendor;
        char *homepage;
        char *source;
        char *file; /* as given to the parser or recorded by the build: "whatsapp.ini" */
        time_t checked;
        enum category category;
        unsigned line; /* of [channel] */
        struct entry *entries;
        size_t n_entries;
};

struct catalogue {
        char *version; /* of a built file, for people: "2026.11.21"; NULL otherwise */
        uint64_t serial; /* of a built file; 0 otherwise */
        struct channel *channels; /* sorted by id */
        size_t n_channels;
};

struct catalogue *catalogue_free(struct catalogue *c); /* returns NULL */
static inline void catalogue_freep(struct catalogue **p)
{
        catalogue_free(*p);
}
#define _cleanup_catalogue_ _cleanup_(catalogue_freep)

struct catalogue_source {
        const char *file; /* base name, for provenance and diagnostics */
        const char *text;
        size_t size;
};

/* Parse channel files, one channel each. Refuses (-EBADMSG, -ENOTUNIQ, -E2BIG) unknown
 * sections and keys, duplicates within and across channels, malformed values. */
int catalogue_parse_files(const struct catalogue_source *sources, size_t n_sources, struct catalogue **ret,
                          struct diag *reterr);
/* Text of one built file, reproducible byte for byte; free(). Channel files are embedded
 * whole, so that file and line of every entry survive. */
int catalogue_build(const struct catalogue_source *sources, size_t n_sources, const char *version, uint64_t serial,
                    char **ret, size_t *ret_size, struct diag *reterr);
/* Parse a built file already verified by trust_verify(). */
int catalogue_parse_built(const char *text, size_t size, const char *file, struct catalogue **ret,
                          struct diag *reterr);

/* The channel files embedded in a policy: whatever comes before the first "[file]" line is not
 * looked at. *ret is NULL when there are none. Their `file` becomes "policy/NAME.ini". */
int catalogue_parse_own(const char *text, size_t size, const char *file, struct catalogue **ret, struct diag *reterr);
/* A policy's text with channel files appended; free(). Refuses what catalogue_parse_files() would,
 * and a policy that holds channel files already (-EEXIST). */
int catalogue_embed(const char *policy, size_t policy_size, const struct catalogue_source *sources, size_t n_sources,
                    char **ret, size_t *ret_size, struct diag *reterr);
/* Both as one. *ret borrows their channels: free() its `channels` alone, before theirs.
 * -ENOTUNIQ when `own` says again what `shipped` says: no channel can be redefined. */
int catalogue_join(const struct catalogue *shipped, const struct catalogue *own, struct catalogue *ret,
                   struct diag *reterr);

const struct channel *catalogue_find(const struct catalogue *c, const char *id);
