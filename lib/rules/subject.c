/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers for people: what is this, and what happens to who tries it. */
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "rules/rules.h"

uint32_t rules_match_subject(const struct ruleset *r, const char *subject)
{
        char domain[DOMAIN_NAME_MAX + 1];
        struct prefix address;
        uint32_t entry = 0;

        if (prefix_parse(subject, &address) >= 0)
                return rules_match_address(r, &address);
        if (!strchr(subject, '/') && domain_normalise(subject, strlen(subject), domain) >= 0)
                entry = rules_match_name(r, domain);
        if (!entry) {
                _cleanup_free_ char *path = *subject == '/' ? strdup(subject) : format_new("/usr/bin/%s", subject);
                struct rules_program p = {.path = path, .flatpak = subject, .snap = subject};

                entry = path ? rules_match_program(r, &p) : 0;
        }
        return entry;
}

static bool is_program(enum entry_kind kind)
{
        switch (kind) {
        case ENTRY_PROGRAM_NAME:
        case ENTRY_PROGRAM_PATH:
        case ENTRY_PROGRAM_ARGV:
        case ENTRY_FLATPAK:
        case ENTRY_SNAP:
        case ENTRY_PACKAGE:
        case ENTRY_BUILD_ID:
        case ENTRY_SHA256:
        case ENTRY_WEB_PWA:
                return true;
        case ENTRY_SUFFIX:
        case ENTRY_EXACT:
        case ENTRY_EXCEPT:
        case ENTRY_PROBE:
        case ENTRY_PREFIX:
        case ENTRY_WEB_URL:
        case ENTRY_PORT_TCP:
        case ENTRY_PORT_UDP:
        case _ENTRY_KIND_MAX:
                break;
        }
        return false;
}

enum verdict rules_entry_verdict(const struct ruleset *r, uint32_t entry, uid_t uid)
{
        const struct rule_entry *e = &r->entries[entry];
        const struct rule_exemption *own = rules_find_exemption(r, e->channel, uid);

        if (entry == 0 || !is_program(e->kind))
                return rules_verdict(r, entry ? e->channel : 0, uid);
        return own ? own->programs : r->channels[e->channel].programs;
}
