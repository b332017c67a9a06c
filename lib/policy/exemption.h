/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What comes into force beside the policy, for a while: onchannel-exemption(5). One signed file holds one
 * exemption, one break-glass token, or one revocation. Owns its strings. Parsing does no I/O and knows no
 * catalogue; term.h says when one is in force. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "base/diag.h"

#define EXEMPTION_FORMAT        1
#define EXEMPTION_MAX_BYTES     (16u << 10)
#define EXEMPTION_ID_MAX        48 /* letters, digits, '-', '_', '.'; begins with a letter or digit */
#define EXEMPTION_LINES_MAX     64 /* of one repeated key */
#define EXEMPTION_DAYS_MAX      366
#define BREAK_GLASS_HOURS_MAX   168
#define EXEMPTIONS_MAX          256 /* that one device holds at once */
#define EXEMPTION_REQUEST_BYTES 256 /* of the reason in a request */

enum exemption_kind {
        EXEMPTION_GRANT, /* [exemption]: these people may use these channels on these devices */
        EXEMPTION_BREAK_GLASS, /* [break-glass]: one device goes into mode monitor */
        EXEMPTION_REVOCATION, /* [revocation]: the named ones end, for ever */
        _EXEMPTION_KIND_MAX,
};
const char *exemption_kind_to_string(enum exemption_kind k); /* "break-glass"; also the section's name */

struct exemption {
        enum exemption_kind kind;
        char *id; /* names it in every record of its use, and never another one */
        char **channels; /* GRANT; NULL-terminated as all lists here, NULL when absent */
        char **devices; /* GRANT: patterns of the device's name, or its id; BREAK_GLASS: one id */
        char **users; /* GRANT: login names */
        char **unixgroups; /* GRANT: groups of the machine or its directory */
        char **revokes; /* REVOCATION: ids */
        time_t from, until; /* not of a REVOCATION: begins, ends */
        char *reason;
        char *approver;
};

struct exemption *exemption_free(struct exemption *e); /* returns NULL */
static inline void exemption_freep(struct exemption **p)
{
        exemption_free(*p);
}
#define _cleanup_exemption_ _cleanup_(exemption_freep)

/* Keys of the sections in one table: the parser reads by it, the man page is tested against it. */
struct exemption_key {
        const char *name;
        size_t offset;
        enum { EXEMPTION_ID, EXEMPTION_LIST, EXEMPTION_TIME, EXEMPTION_TEXT } type;
        unsigned kinds, required; /* bit n: of kind n */
};
extern const struct exemption_key exemption_keys[]; /* ends by a NULL name */

bool exemption_id_is_valid(const char *id);
/* A new one, "EX-20261121-9f2c41aa": `random` tells those of one day apart. */
void exemption_id_make(enum exemption_kind kind, time_t now, uint32_t random, char ret[static EXEMPTION_ID_MAX + 1]);
/* -EBADMSG malformed, incomplete or unknown key, -E2BIG over a limit, -ENOTUNIQ given twice, -ERANGE longer
 * than may be. */
int exemption_parse(const char *text, size_t size, const char *file, struct exemption **ret, struct diag *reterr);
/* Its text, as exemption_parse() reads it; free(). -EINVAL what it holds would not be read back. */
int exemption_format(const struct exemption *e, char **ret);

/* The trusted comment that its signature must carry, before " signed=…": "onchannel exemption id=EX-7
 * until=2026-12-24T18:00:00Z", "onchannel break-glass …", "onchannel revocation id=RV-3"; free(). */
int exemption_comment_new(const struct exemption *e, char **ret);
/* -EBADMSG when the trusted comment does not agree with the file. */
int exemption_comment_check(const struct exemption *e, const char *comment, const char *file, struct diag *reterr);

/* Is it for this device? `id` as device_id_format() has it. */
bool exemption_has_device(const struct exemption *e, const char *name, const char *id);
bool exemption_is_for_everyone(const struct exemption *e); /* names neither user nor group */
