/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

/* Length of the UTF-8 sequence at s (RFC 3629 4), 0 when it is none; *ret is its code point. */
static size_t utf8_next(const char *s, size_t size, uint32_t *ret)
{
        static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
        uint8_t first = (uint8_t)s[0];
        size_t n = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
        uint32_t c = n == 1 ? first : first & (0x7fu >> n);

        if (n == 0 || n > size)
                return 0;
        for (size_t i = 1; i < n; i++) {
                if (((uint8_t)s[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | ((uint8_t)s[i] & 0x3f);
        }
        if (c < lowest[n] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
                return 0;
        *ret = c;
        return n;
}

bool text_is_utf8(const char *s, size_t size)
{
        uint32_t c;

        for (size_t i = 0, n; i < size; i += n) {
                n = utf8_next(s + i, size - i, &c);
                if (n == 0)
                        return false;
        }
        return true;
}

bool text_is_line(const char *s, size_t size)
{
        uint32_t c;

        for (size_t i = 0, n; i < size; i += n) {
                n = utf8_next(s + i, size - i, &c);
                if (n == 0 || (c < 0x20 && c != '\t') || (c >= 0x7f && c < 0xa0))
                        return false;
        }
        return true;
}

/* Controls, and the invisible characters that reorder or hide text on a terminal. */
static bool is_printable(uint32_t c)
{
        static const uint32_t hidden[][2] = {
                {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x061c, 0x061c},
                {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},   {0xfe00, 0xfe0f},
                {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xe0000, 0xe0fff},
        };

        for (size_t i = 0; i < ELEMENTSOF(hidden); i++)
                if (c >= hidden[i][0] && c <= hidden[i][1])
                        return false;
        return true;
}

void text_escape(const char *s, char *buf, size_t size)
{
        size_t left = strlen(s), n, used = 0;
        uint32_t c = 0;

        if (size == 0)
                return;
        for (; left > 0; s += n, left -= n) {
                n = utf8_next(s, left, &c);
                if (n > 0 && is_printable(c)) {
                        if (used + n >= size)
                                break;
                        memcpy(buf + used, s, n);
                        used += n;
                        continue;
                }
                if (used + 4 >= size)
                        break;
                used += (size_t)snprintf(buf + used, size - used, "\\x%02x", (uint8_t)*s);
                n = 1;
        }
        buf[used] = 0;
}

void hex_encode(const uint8_t *data, size_t size, char *ret)
{
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < size; i++) {
                *ret++ = digits[data[i] >> 4];
                *ret++ = digits[data[i] & 15];
        }
        *ret = 0;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -EINVAL;
}

int hex_decode(const char *text, uint8_t *ret, size_t size)
{
        if (strlen(text) / 2 != size || strlen(text) % 2 != 0)
                return -EINVAL;
        for (size_t i = 0; i < 2 * size; i++)
                if (hex_digit(text[i]) < 0)
                        return -EINVAL;
        for (size_t i = 0; i < size; i++)
                ret[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
        return 0;
}

int parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
        bool over = false;
        uint64_t v = 0;

        if (!*text)
                return -EINVAL;
        for (const char *p = text; *p; p++) {
                if (*p < '0' || *p > '9')
                        return -EINVAL;
                over = over || __builtin_mul_overflow(v, 10, &v) ||
                       __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
        }
        if (over || v > max)
                return -ERANGE;
        *ret = v;
        return 0;
}

/* `format`: '0' stands for a digit, everything else for itself. */
static bool has_shape(const char *text, const char *format)
{
        for (; *format; text++, format++)
                if (*format == '0' ? *text < '0' || *text > '9' : *text != *format)
                        return false;
        return *text == 0;
}

static int number_at(const char *text, size_t at, size_t digits)
{
        int v = 0;

        for (size_t i = 0; i < digits; i++)
                v = v * 10 + (text[at + i] - '0');
        return v;
}

/* The round trip through timegm() refuses what no calendar has: 30 February, 24:00, 60 s. */
static int tm_to_time(const struct tm *tm, time_t *ret)
{
        struct tm there = *tm, back;
        time_t t = timegm(&there);

        if (tm->tm_year < 70 || !gmtime_r(&t, &back))
                return -EINVAL;
        if (back.tm_year != tm->tm_year || back.tm_mon != tm->tm_mon || back.tm_mday != tm->tm_mday ||
            back.tm_hour != tm->tm_hour || back.tm_min != tm->tm_min || back.tm_sec != tm->tm_sec)
                return -EINVAL;
        *ret = t;
        return 0;
}

static struct tm tm_of_date(const char *text)
{
        return (struct tm){
                .tm_year = number_at(text, 0, 4) - 1900,
                .tm_mon = number_at(text, 5, 2) - 1,
                .tm_mday = number_at(text, 8, 2),
        };
}

/* RFC 3339 5.6, with upper-case T and Z, no fraction and no other offset. */
int time_parse(const char *text, time_t *ret)
{
        struct tm tm;

        if (!has_shape(text, "0000-00-00T00:00:00Z"))
                return -EINVAL;
        tm = tm_of_date(text);
        tm.tm_hour = number_at(text, 11, 2);
        tm.tm_min = number_at(text, 14, 2);
        tm.tm_sec = number_at(text, 17, 2);
        return tm_to_time(&tm, ret);
}

int date_parse(const char *text, time_t *ret)
{
        struct tm tm;

        if (!has_shape(text, "0000-00-00"))
                return -EINVAL;
        tm = tm_of_date(text);
        return tm_to_time(&tm, ret);
}

int time_or_date_parse(const char *text, time_t *ret)
{
        return date_parse(text, ret) < 0 ? time_parse(text, ret) : 0;
}

const char *time_format(time_t t, char buf[static TIME_TEXT_MAX])
{
        struct tm tm;

        if (!gmtime_r(&t, &tm) || strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
                memcpy(buf, "-", 2);
        return buf;
}

int domain_normalise(const char *text, size_t size, char ret[static DOMAIN_NAME_MAX + 1])
{
        char name[DOMAIN_NAME_MAX + 1];
        size_t label = 0;

        if (size > 0 && text[size - 1] == '.')
                size--;
        if (size > DOMAIN_NAME_MAX)
                return -E2BIG;
        for (size_t i = 0; i < size; i++) {
                char c = text[i];

                if (c >= 'A' && c <= 'Z')
                        c = (char)(c + 'a' - 'A');
                if (c == '.' ? label == 0 : !strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", c) || !c)
                        return -EINVAL;
                label = c == '.' ? 0 : label + 1;
                if (label > 63) /* RFC 1035 2.3.4 */
                        return -E2BIG;
                name[i] = c;
        }
        if (label == 0)
                return -EINVAL;
        name[size] = 0;
        memcpy(ret, name, size + 1);
        return 0;
}

void text_unquote(const char *s, char *buf, size_t size)
{
        const char *from = NULL, *to = NULL;

        for (const char *p = s; *p; p++) {
                if (*p != '\'')
                        continue;
                if (!from && (p == s || !isalnum((unsigned char)p[-1]))) /* no apostrophe */
                        from = p;
                else if (from && !isalnum((unsigned char)p[1]))
                        to = p;
        }
        if (from)
                snprintf(buf, size, "%.*s'…'%s", (int)(from - s), s, to ? to + 1 : "");
        else
                snprintf(buf, size, "%s", s);
}

bool text_starts_with(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *s, const char *suffix)
{
        size_t n = strlen(s), m = strlen(suffix);

        return n >= m && memcmp(s + n - m, suffix, m) == 0;
}
