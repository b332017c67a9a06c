/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <string.h>
#include "agent/classify/classify.h"
#include "base/text.h"

#define ID_MAX 255

/* Undo systemd's escaping (systemd-escape(1): \xNN) of size bytes of an id.
 * False: too long, or a character that neither Flatpak nor Snap allows in an id. */
static bool unescape_id(const char *s, size_t size, char ret[static ID_MAX + 1])
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                char c = s[i];

                if (c == '\\') {
                        uint8_t byte;
                        char hex[3] = "";

                        if (size - i < 4 || s[i + 1] != 'x')
                                return false;
                        memcpy(hex, s + i + 2, 2);
                        if (hex_decode(hex, &byte, 1) < 0)
                                return false;
                        c = (char)byte;
                        i += 3;
                }
                if (n == ID_MAX || !(isascii(c) && (isalnum(c) || strchr(".-_", c))) || c == '\0')
                        return false;
                ret[n++] = c;
        }
        ret[n] = '\0';
        return n > 0;
}

/* "app-flatpak-ID-NUMBER.scope"; flatpak-run.c, flatpak_run_in_transient_unit(). An id may
 * contain '-'. */
static bool parse_flatpak(const char *unit, size_t size, char ret[static ID_MAX + 1])
{
        static const char head[] = "app-flatpak-", tail[] = ".scope";
        size_t at;

        if (size <= sizeof(head) - 1 + sizeof(tail) - 1 || memcmp(unit, head, sizeof(head) - 1) != 0 ||
            memcmp(unit + size - (sizeof(tail) - 1), tail, sizeof(tail) - 1) != 0)
                return false;
        at = size - (sizeof(tail) - 1);
        while (isdigit((unsigned char)unit[at - 1]))
                at--;
        if (at == size - (sizeof(tail) - 1) || unit[at - 1] != '-' || at - 1 <= sizeof(head) - 1)
                return false;
        return unescape_id(unit + sizeof(head) - 1, at - 1 - (sizeof(head) - 1), ret);
}

/* "snap.NAME.APP-UUID.scope", "snap.NAME.APP.UUID.scope" (before snapd 2.61),
 * "snap.NAME_INSTANCE.APP.service", "snap.NAME+COMPONENT.hook…". */
static bool parse_snap(const char *unit, size_t size, char ret[static ID_MAX + 1])
{
        static const char head[] = "snap.";
        size_t end = sizeof(head) - 1;

        if (size <= end || memcmp(unit, head, end) != 0)
                return false;
        while (end < size &&
               (islower((unsigned char)unit[end]) || isdigit((unsigned char)unit[end]) || unit[end] == '-'))
                end++;
        if (end == size || !strchr("._+", unit[end]) || !memchr(unit + end, '.', size - end))
                return false;
        return unescape_id(unit + sizeof(head) - 1, end - (sizeof(head) - 1), ret);
}

/* The outermost unit counts: an application may make folders of any name below its own. */
void classify_cgroup(const char *cgroup_path, char ret_flatpak[static 256], char ret_snap[static 256])
{
        ret_flatpak[0] = ret_snap[0] = '\0';
        for (const char *p = cgroup_path; *p && !ret_flatpak[0] && !ret_snap[0];) {
                char id[ID_MAX + 1];
                size_t size;

                p += strspn(p, "/");
                size = strcspn(p, "/");
                if (parse_flatpak(p, size, id))
                        strcpy(ret_flatpak, id);
                else if (parse_snap(p, size, id))
                        strcpy(ret_snap, id);
                p += size;
        }
}
