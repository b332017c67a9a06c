/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/keys.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/internal.h"

static const char *const section_names[] = {
        [POLICY_SECTION_POLICY] = "[policy]",
        [POLICY_SECTION_GROUP] = "[group NAME]",
        [POLICY_SECTION_CHANNEL] = "[channel ID]",
        [POLICY_SECTION_TRUST] = "[trust]",
};
_Static_assert(ELEMENTSOF(section_names) == _POLICY_SECTION_MAX, "a section without a name");

static const char *const type_names[] = {
        [POLICY_TYPE_FORMAT] = "number",   [POLICY_TYPE_SERIAL] = "number",    [POLICY_TYPE_TEXT] = "text",
        [POLICY_TYPE_TIME] = "time",       [POLICY_TYPE_URL] = "URL",          [POLICY_TYPE_CHOICE] = "word",
        [POLICY_TYPE_PATTERN] = "pattern", [POLICY_TYPE_LOGIN] = "login name", [POLICY_TYPE_GROUP] = "group name",
        [POLICY_TYPE_KEY] = "public key",  [POLICY_TYPE_KEY_ID] = "key id",    [POLICY_TYPE_ID] = "id",
        [POLICY_TYPE_COUNT] = "number",
};
_Static_assert(ELEMENTSOF(type_names) == _POLICY_TYPE_MAX, "a type without a name");

_Static_assert(sizeof(enum verdict) == sizeof(unsigned) && sizeof(enum policy_mode) == sizeof(unsigned) &&
                       sizeof(enum quic_mode) == sizeof(unsigned),
               "a choice is stored as an unsigned");

#define POLICY_EXAMPLE_KEY "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"

static const struct policy_choice verdicts = {"verdict", policy_verdict_words, _VERDICT_MAX, VERDICT_ALLOW};
static const struct policy_choice programs = {"treatment of programs", policy_verdict_words + VERDICT_WATCH,
                                              _VERDICT_MAX - VERDICT_WATCH, VERDICT_WATCH};
static const struct policy_choice modes = {"mode", policy_mode_words, _POLICY_MODE_MAX, POLICY_MODE_ENFORCE};
static const struct policy_choice quic = {"treatment of QUIC", policy_quic_words, _QUIC_MODE_MAX, QUIC_INSPECT};

#define IN_POLICY(t, n) .section = POLICY_SECTION_POLICY, .type = t, .name = #n, .offset = offsetof(struct policy, n)
#define IN_TRUST(t, n, field)                                                                                        \
        .section = POLICY_SECTION_TRUST, .type = t, .name = n, .offset = offsetof(struct policy, trust.field)
#define IN_CHANNEL(t, n)                                                                                             \
        .section = POLICY_SECTION_CHANNEL, .type = t, .name = #n, .offset = offsetof(struct policy_channel, n)
#define IN_GROUP(t, n)                                                                                               \
        .section = POLICY_SECTION_GROUP, .type = t, .name = #n, .offset = offsetof(struct policy_group, n##s)

const struct policy_key policy_keys[] = {
        {.section = POLICY_SECTION_POLICY,
         .type = POLICY_TYPE_FORMAT,
         .name = "format",
         .flags = POLICY_KEY_REQUIRED,
         .meaning = "Always 1.",
         .example = "1"},
        {IN_POLICY(POLICY_TYPE_TEXT, organisation), .flags = POLICY_KEY_REQUIRED,
         .meaning = "Whose policy this is; it stands in every record.", .example = "Example Bank plc"},
        {IN_POLICY(POLICY_TYPE_SERIAL, serial), .flags = POLICY_KEY_REQUIRED,
         .meaning = "Raise it with every change: an agent refuses a serial lower than one it has accepted before.",
         .example = "42"},
        {IN_POLICY(POLICY_TYPE_TIME, not_before), .flags = POLICY_KEY_REQUIRED,
         .meaning = "Before this time the policy is refused.", .example = "2026-11-21T00:00:00Z"},
        {IN_POLICY(POLICY_TYPE_TIME, expires), .flags = POLICY_KEY_REQUIRED,
         .meaning = "Afterwards it stays in force and every coverage record says that it has expired.",
         .example = "2027-02-21T00:00:00Z"},
        {IN_POLICY(POLICY_TYPE_CHOICE, mode), .choice = &modes, .standard = "enforce",
         .meaning = "monitor lets everything through and reports what would have been blocked.",
         .example = "monitor"},
        {IN_POLICY(POLICY_TYPE_CHOICE, unlisted), .choice = &verdicts, .standard = "block",
         .meaning = "Verdict of the catalogue's channels that no section names.", .example = "block"},
        {IN_POLICY(POLICY_TYPE_CHOICE, bypass), .choice = &verdicts, .standard = "block",
         .meaning = "The same for encrypted DNS, tunnels, anonymisers and messenger relays.", .example = "block"},
        {IN_POLICY(POLICY_TYPE_CHOICE, quic), .choice = &quic, .standard = "inspect",
         .meaning = "block rejects UDP port 443, so that browsers fall back to TCP.", .example = "inspect"},
        {IN_POLICY(POLICY_TYPE_CHOICE, programs), .choice = &programs, .standard = "block",
         .meaning = "Whether a program of a blocked channel may start.", .example = "block"},
        {IN_POLICY(POLICY_TYPE_TEXT, notice), .meaning = "What an employee is told when something is stopped.",
         .example = "This channel is not approved. Use Teams."},
        {IN_POLICY(POLICY_TYPE_URL, help), .meaning = "Where they can read more or ask: an http or https address.",
         .example = "https://intranet.example/channels"},

        {IN_GROUP(POLICY_TYPE_PATTERN, device), .flags = POLICY_KEY_REPEATED,
         .meaning = "fnmatch(3) pattern of device names.", .example = "ws-03*"},
        {IN_GROUP(POLICY_TYPE_PATTERN, tag), .flags = POLICY_KEY_REPEATED,
         .meaning = "A word that agent.ini gives the device.", .example = "trading-floor"},
        {IN_GROUP(POLICY_TYPE_LOGIN, user), .flags = POLICY_KEY_REPEATED, .meaning = "Login name of a member.",
         .example = "anna"},
        {IN_GROUP(POLICY_TYPE_LOGIN, unixgroup), .flags = POLICY_KEY_REPEATED,
         .meaning = "Group of the machine or its directory, whose members these are.", .example = "traders"},

        {IN_CHANNEL(POLICY_TYPE_CHOICE, verdict), .flags = POLICY_KEY_REQUIRED, .choice = &verdicts,
         .meaning = "What happens to this channel.", .example = "allow"},
        {IN_CHANNEL(POLICY_TYPE_GROUP, group),
         .meaning = "The verdict holds for this group only; everyone else has that of unlisted or bypass.",
         .example = "client-desk"},
        {IN_CHANNEL(POLICY_TYPE_TEXT, archive), .meaning = "The archive that captures this approved channel.",
         .example = "Global Relay"},
        {IN_CHANNEL(POLICY_TYPE_TIME, until), .meaning = "Afterwards the section counts as absent.",
         .example = "2026-12-31T00:00:00Z"},
        {IN_CHANNEL(POLICY_TYPE_TEXT, reason), .meaning = "Why, for those who read the policy.",
         .example = "CHG-4711"},

        {IN_TRUST(POLICY_TYPE_KEY, "next_key", next_keys), .flags = POLICY_KEY_REPEATED,
         .meaning = "A policy key that is accepted from this policy on, besides those before.",
         .example = POLICY_EXAMPLE_KEY},
        {IN_TRUST(POLICY_TYPE_KEY, "next_catalogue_key", next_catalogue_keys), .flags = POLICY_KEY_REPEATED,
         .meaning = "The same for catalogues.", .example = POLICY_EXAMPLE_KEY},
        {IN_TRUST(POLICY_TYPE_KEY, "next_exemption_key", next_exemption_keys), .flags = POLICY_KEY_REPEATED,
         .meaning = "The same for exemptions.", .example = POLICY_EXAMPLE_KEY},
        {IN_TRUST(POLICY_TYPE_KEY_ID, "revoke_key", revoke_keys), .flags = POLICY_KEY_REPEATED,
         .meaning = "Id of a key, of whatever role, that is never accepted again; with a time: from then on.",
         .example = "E7620F1842B4E81F 2027-01-01T00:00:00Z"},
        {IN_TRUST(POLICY_TYPE_ID, "revoke_exemption", revoke_exemptions), .flags = POLICY_KEY_REPEATED,
         .meaning = "Id of an exemption or break-glass token that ends now.", .example = "EX-2026-0042"},
        {IN_TRUST(POLICY_TYPE_COUNT, "policy_signatures", policy_signatures),
         .meaning =
                 "By how many different keys the next policies must be signed; this one is, as those before demand.",
         .example = "2"},
        {IN_TRUST(POLICY_TYPE_COUNT, "catalogue_signatures", catalogue_signatures),
         .meaning = "The same for catalogues.", .example = "1"},
        {IN_TRUST(POLICY_TYPE_COUNT, "exemption_signatures", exemption_signatures),
         .meaning = "The same for exemptions.", .example = "1"},
        {0},
};
_Static_assert(ELEMENTSOF(policy_keys) <= 65, "struct parser's `seen` has a bit a key");

const char *policy_section_to_string(enum policy_section s)
{
        return section_names[s];
}

const char *policy_type_to_string(enum policy_type t)
{
        return type_names[t];
}

const struct policy_key *policy_key_find(enum policy_section s, const char *name)
{
        for (const struct policy_key *k = policy_keys; k->name; k++)
                if (k->section == s && strcmp(k->name, name) == 0)
                        return k;
        return NULL;
}

const char *policy_choice_format(const struct policy_choice *c, char buf[static POLICY_VALUE_MAX])
{
        int n = 0;

        for (unsigned i = 0; i < c->n; i++)
                n += snprintf(buf + n, POLICY_VALUE_MAX - (size_t)n, "%s%s",
                              i == 0         ? ""
                              : i + 1 < c->n ? ", "
                                             : " or ",
                              c->words[i]);
        return buf;
}

const char *policy_key_format(const struct policy_key *k, const void *section, char buf[static POLICY_VALUE_MAX])
{
        const void *at = (const char *)section + k->offset;

        switch (k->type) {
        case POLICY_TYPE_FORMAT:
                snprintf(buf, POLICY_VALUE_MAX, "%d", POLICY_FORMAT);
                return buf;
        case POLICY_TYPE_SERIAL:
                snprintf(buf, POLICY_VALUE_MAX, "%" PRIu64, *(const uint64_t *)at);
                return buf;
        case POLICY_TYPE_COUNT:
                snprintf(buf, POLICY_VALUE_MAX, "%" PRIu64, *(const uint64_t *)at);
                return *(const uint64_t *)at ? buf : NULL;
        case POLICY_TYPE_TIME:
                return *(const time_t *)at ? time_format(*(const time_t *)at, buf) : NULL;
        case POLICY_TYPE_CHOICE: {
                unsigned v;

                memcpy(&v, at, sizeof(v));
                return k->choice->words[v - k->choice->first];
        }
        case POLICY_TYPE_TEXT:
        case POLICY_TYPE_URL:
        case POLICY_TYPE_GROUP:
                return *(char *const *)at;
        case POLICY_TYPE_PATTERN:
        case POLICY_TYPE_LOGIN:
        case POLICY_TYPE_KEY:
        case POLICY_TYPE_KEY_ID:
        case POLICY_TYPE_ID:
        case _POLICY_TYPE_MAX:
                break;
        }
        return NULL;
}
