/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The compiler: catalogue + policy + who is asking -> one rule set, which feeds the eBPF
 * maps, the nftables table and the browser files. Pure: no I/O, no clock, no logging. The
 * rule set owns its strings and outlives its inputs. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include "base/diag.h"
#include "base/prefix.h"
#include "catalogue/catalogue.h"
#include "policy/policy.h"

enum violation_class {
        CLASS_USE,
        CLASS_BYPASS,
        CLASS_TAMPER,
        CLASS_EXEMPTION_USE,
        _VIOLATION_CLASS_MAX,
};
const char *violation_class_to_string(enum violation_class c); /* "exemption-use" */

/* A catalogue entry as it stands in the rule set; facts carry its index. */
struct rule_entry {
        enum entry_kind kind;
        uint16_t channel; /* 0 for ENTRY_EXCEPT: what matches it is nobody's */
        unsigned line;
        const char *value;
        struct prefix prefix; /* ENTRY_PREFIX */
};

struct rule_channel { /* index = channel number; number 0 is "no channel" */
        const char *id;
        const char *name;
        const char *file;
        enum category category;
        enum violation_class class; /* CLASS_USE or CLASS_BYPASS */
        enum verdict verdict; /* for everyone not in exemptions; mode monitor already applied */
        enum verdict programs; /* verdict for starting its programs */
        const char *exemption; /* id of the one by which everyone is allowed here, or NULL */
        /* which line of the policy decided: "[channel whatsapp]", "unlisted", "bypass", "no policy" */
        const char *decided_by;
        unsigned decided_line; /* 0: no line of its own */
};

/* (channel, uid) -> verdict, overriding rule_channel.verdict. Sorted by channel, uid. */
struct rule_exemption {
        uint16_t channel;
        uid_t uid;
        enum verdict verdict;
        enum verdict programs; /* for starting the channel's programs */
        unsigned decided_line; /* of its [channel ID] section; 0: a grant decided */
        const char *id; /* its use is recorded under this name; NULL it is not */
};

struct ruleset {
        struct rule_channel *channels; /* [0] unused, [1..n_channels-1], at most CATALOGUE_CHANNELS_MAX */
        size_t n_channels;
        struct rule_entry *entries; /* [0] unused: entry 0 is "none" */
        size_t n_entries;
        struct rule_exemption *exemptions;
        size_t n_exemptions;
        uint16_t
                canary; /* channel that is blocked for everyone in every mode, so that blocking can be proven; or 0 */
        enum policy_mode mode;
        enum quic_mode quic;
        uint64_t policy_serial; /* 0: no policy */
        time_t next_change; /* when an `until` ends the verdicts of this rule set; 0: never */
        const char *organisation; /* NULL: no policy */
        const char *notice;
        const char *help;
        const char *catalogue_version;
        void *storage; /* owns the strings and the matcher's index */
};

struct ruleset *ruleset_free(struct ruleset *r); /* returns NULL */
static inline void ruleset_freep(struct ruleset **p)
{
        ruleset_free(*p);
}
#define _cleanup_ruleset_ _cleanup_(ruleset_freep)

struct rules_user {
        const char *name;
        uid_t uid;
};

struct rules_member {
        const char *unixgroup;
        uid_t uid;
};

/* An exemption that is in force on this device. */
struct rules_grant {
        const char *id;
        char *const *channels; /* ids; those that the catalogue lacks count for nothing */
        char *const *users, *const *unixgroups; /* both NULL: everyone */
};

/* The canary's one name. RFC 6761 6.4: no resolver knows it. */
#define RULES_CANARY_ID   "onchannel-canary"
#define RULES_CANARY_NAME "onchannel-canary.invalid"

/* An address, a name or a program that no policy may block: the collector, the VPN, the mirror. */
struct rules_protected {
        const char *name; /* normalised, or NULL */
        const char *program; /* path or base name, or NULL */
        struct prefix prefix; /* used when both are NULL */
        const char *why; /* "agent.ini: [collector] url" */
};

struct rules_input {
        const struct catalogue *catalogue;
        const struct catalogue *own; /* the channels that the policy brings along, NULL none */
        const struct policy *policy; /* NULL: none yet, everything is watched */
        const char *policy_file; /* for diagnostics */
        const char *device;
        char *const *tags; /* of the device, NULL-terminated or NULL */
        time_t now;
        const struct rules_user *users; /* uids of the login names that policy and grants mention */
        size_t n_users;
        const struct rules_member *members; /* of the unixgroups that they mention */
        size_t n_members;
        const struct rules_grant *grants;
        size_t n_grants;
        bool canary;
        const struct rules_protected *protect;
        size_t n_protect;
};

/* -ENOENT the policy names an unknown channel, -EPERM it would block something protected
 * (*reterr names both), -E2BIG too many channels. A login name absent from `users` is no
 * error: that account does not exist on this machine. -ENOTUNIQ an own channel redefines another. */
int rules_compile(const struct rules_input *in, struct ruleset **ret, struct diag *reterr);

/* What the policy says for this user alone, or NULL. */
const struct rule_exemption *rules_find_exemption(const struct ruleset *r, uint16_t channel, uid_t uid);
/* By which exemption this user is allowed what the policy stops or watches; its use is recorded. NULL: by none. */
const char *rules_exempted_by(const struct ruleset *r, uint16_t channel, uid_t uid);
/* Verdict of a channel for a user. */
enum verdict rules_verdict(const struct ruleset *r, uint16_t channel, uid_t uid);

/* The same matching that the kernel does, for `why`, tests and user-space classifiers.
 * Each returns an entry index or 0. Longest match wins. */
uint32_t rules_match_name(const struct ruleset *r, const char *name);
uint32_t rules_match_address(const struct ruleset *r, const struct prefix *address);
struct rules_program {
        const char *path; /* absolute path of the executable or NULL */
        const char *const *argv; /* NULL-terminated or NULL */
        bool is_browser; /* its options count: "--app=https://…" */
        bool is_interpreter; /* what is no option counts: a script, an archive, a class */
        const char *flatpak; /* application id or NULL */
        const char *snap;
        const char *package;
        const char *build_id; /* small hexadecimal digits or NULL */
        const char *sha256;
};
/* The application's id before the executable's content, path, base name and package, and its
 * arguments last (from argv[1], those that count for what it is; a web app's id as "--app-id=ID"). */
uint32_t rules_match_program(const struct ruleset *r, const struct rules_program *p);
/* What somebody asks about: an address, a domain name, a program's path, name or application id.
 * A name is looked for among names and then among programs: "signal-desktop" is both. */
uint32_t rules_match_subject(const struct ruleset *r, const char *subject);
/* What happens to a user who tries it: for a program, whether it may start. Entry 0: allow. */
enum verdict rules_entry_verdict(const struct ruleset *r, uint32_t entry, uid_t uid);
/* Whether any channel has an entry of this kind. */
bool rules_has(const struct ruleset *r, enum entry_kind kind);
