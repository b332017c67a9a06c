/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a value of each kind of entry may look like. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "catalogue/internal.h"

#define PREFIX4_LENGTH_MIN   8
#define PREFIX6_LENGTH_MIN   16
#define PROGRAM_NAME_MAX     63
#define PATTERN_LITERALS_MIN 5 /* fewer hit programs of others */
#define APPLICATION_ID_MAX   255
#define SNAP_NAME_MAX        40
#define BUILD_ID_MAX         64 /* bytes */
#define PWA_ID_SIZE          32

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define ALNUM "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" LOWER

static int refuse(const char **reterr_why, const char *why)
{
        *reterr_why = why;
        return -EBADMSG;
}

static bool is_made_of(const char *s, const char *set, size_t max)
{
        size_t n = strspn(s, set);
        return n > 0 && n <= max && s[n] == '\0';
}

bool channel_id_is_valid(const char *id)
{
        return is_made_of(id, LOWER "0123456789-", CHANNEL_ID_MAX) && id[0] != '-';
}

static bool is_printable(const char *s)
{
        for (; *s; s++)
                if ((unsigned char)*s < 0x20 || *s == 0x7f)
                        return false;
        return true;
}

static int domain_parse(const char *value, size_t size, char ret[static DOMAIN_NAME_MAX + 1], const char **reterr_why)
{
        char name[DOMAIN_NAME_MAX + 1];
        int r = domain_normalise(value, size, name);
        if (r < 0)
                return refuse(reterr_why, "is not a domain name");
        const char *dot = strrchr(name, '.');
        if (!dot)
                return refuse(reterr_why, "is a single label: it would hit other services");
        if (strspn(dot + 1, "0123456789") == strlen(dot + 1))
                return refuse(reterr_why, "is an address, not a name");
        strcpy(ret, name);
        return 0;
}

static int prefix_check(const char *value, struct prefix *ret, const char **reterr_why)
{
        struct prefix p;
        int r = prefix_parse(value, &p);
        if (r == -ERANGE)
                return refuse(reterr_why, "has bits set behind its length");
        if (r < 0)
                return refuse(reterr_why, "is not an address prefix");
        if (p.length < (p.family == AF_INET ? PREFIX4_LENGTH_MIN : PREFIX6_LENGTH_MIN))
                return refuse(reterr_why, "is too wide to serve one channel alone");
        *ret = p;
        return 0;
}

static size_t count_literals(const char *pattern)
{
        size_t n = 0;
        for (; *pattern; pattern++)
                if (isalnum((unsigned char)*pattern))
                        n++;
        return n;
}

static int pattern_check(const char *value, const char **reterr_why)
{
        if (!is_printable(value))
                return refuse(reterr_why, "has a control character");
        if (count_literals(value) < PATTERN_LITERALS_MIN)
                return refuse(reterr_why, "is too general a pattern");
        return 0;
}

static int name_check(const char *value, const char **reterr_why)
{
        if (strlen(value) > PROGRAM_NAME_MAX || !is_printable(value))
                return refuse(reterr_why, "is not a program's base name");
        if (strpbrk(value, "/*?[\\"))
                return refuse(reterr_why, "is no base name: a pattern or a folder belongs to 'path'");
        return 0;
}

static int flatpak_check(const char *value, const char **reterr_why)
{
        unsigned dots = 0;

        if (!is_made_of(value, ALNUM "._-", APPLICATION_ID_MAX) || value[0] == '.' || text_ends_with(value, ".") ||
            strstr(value, ".."))
                return refuse(reterr_why, "is not a Flatpak application id");
        for (const char *p = value; *p; p++)
                dots += *p == '.';
        /* D-Bus names may have one dot, Flatpak application ids have two at least */
        return dots >= 2 ? 0 : refuse(reterr_why, "is not a Flatpak application id: it needs two dots");
}

static int hex_check(char *value, size_t min, size_t max, const char **reterr_why)
{
        uint8_t bytes[BUILD_ID_MAX];
        size_t size = strlen(value) / 2;

        if (size < min || size > max || hex_decode(value, bytes, size) < 0)
                return refuse(reterr_why, "is not a hexadecimal number of the right size");
        hex_encode(bytes, size, value);
        return 0;
}

static int url_parse(const char *value, char **ret, const char **reterr_why)
{
        char host[DOMAIN_NAME_MAX + 1];
        size_t size = strcspn(value, "/");
        const char *path = value + size;

        if (strstr(value, "://"))
                return refuse(reterr_why, "has a scheme: write the host and a path only");
        if (strpbrk(path, " ?#*") || !is_printable(path))
                return refuse(reterr_why, "is not a host with a path");
        int r = domain_parse(value, size, host, reterr_why);
        if (r < 0)
                return r;
        char *url = malloc(strlen(host) + strlen(path) + 1);
        if (!url)
                return -ENOMEM;
        strcpy(url, host);
        strcat(url, path);
        *ret = url;
        return 0;
}

static int port_parse(const char *value, uint16_t *ret, const char **reterr_why)
{
        uint64_t port;
        if (parse_u64(value, UINT16_MAX, &port) < 0 || port == 0)
                return refuse(reterr_why, "is not a port");
        *ret = (uint16_t)port;
        return 0;
}

static int names_parse(enum entry_kind kind, char **value, const char **reterr_why)
{
        char name[DOMAIN_NAME_MAX + 1];
        char *normal = NULL;
        int r;

        if (kind == ENTRY_WEB_URL) {
                r = url_parse(*value, &normal, reterr_why);
        } else {
                r = domain_parse(*value, strlen(*value), name, reterr_why);
                if (r == 0)
                        r = (normal = strdup(name)) ? 0 : -ENOMEM;
        }
        if (r < 0)
                return r;
        free(*value);
        *value = normal;
        return 0;
}

static int value_parse(struct entry *e, const char **reterr_why)
{
        switch (e->kind) {
        case ENTRY_SUFFIX:
        case ENTRY_EXACT:
        case ENTRY_EXCEPT:
        case ENTRY_PROBE:
        case ENTRY_WEB_URL:
                return names_parse(e->kind, &e->value, reterr_why);
        case ENTRY_PREFIX:
                return prefix_check(e->value, &e->prefix, reterr_why);
        case ENTRY_PROGRAM_NAME:
                return name_check(e->value, reterr_why);
        case ENTRY_PROGRAM_PATH:
                if (e->value[0] != '/')
                        return refuse(reterr_why, "is not an absolute path");
                return pattern_check(e->value, reterr_why);
        case ENTRY_PROGRAM_ARGV:
                return pattern_check(e->value, reterr_why);
        case ENTRY_FLATPAK:
                return flatpak_check(e->value, reterr_why);
        case ENTRY_SNAP:
                if (!is_made_of(e->value, LOWER "0123456789-", SNAP_NAME_MAX) || !strpbrk(e->value, LOWER))
                        return refuse(reterr_why, "is not a snap's name");
                return 0;
        case ENTRY_PACKAGE:
                if (!is_made_of(e->value, ALNUM "+._-", APPLICATION_ID_MAX) || !isalnum((unsigned char)e->value[0]))
                        return refuse(reterr_why, "is not a package's name");
                return 0;
        case ENTRY_BUILD_ID:
                return hex_check(e->value, 8, BUILD_ID_MAX, reterr_why);
        case ENTRY_SHA256:
                return hex_check(e->value, 32, 32, reterr_why);
        case ENTRY_WEB_PWA:
                if (!is_made_of(e->value, "abcdefghijklmnop", PWA_ID_SIZE) || strlen(e->value) != PWA_ID_SIZE)
                        return refuse(reterr_why, "is not a web app's id: 32 letters from a to p");
                return 0;
        case ENTRY_PORT_TCP:
        case ENTRY_PORT_UDP:
                return port_parse(e->value, &e->port, reterr_why);
        case _ENTRY_KIND_MAX:
                break;
        }
        return -EINVAL;
}

int entry_parse(enum entry_kind kind, const char *value, struct entry *ret, const char **reterr_why)
{
        struct entry e = {.kind = kind};

        if (value[0] == '\0')
                return refuse(reterr_why, "is empty");
        e.value = strdup(value);
        if (!e.value)
                return -ENOMEM;
        int r = value_parse(&e, reterr_why);
        if (r < 0) {
                free(e.value);
                return r;
        }
        *ret = e;
        return 0;
}
