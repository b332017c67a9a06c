/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Small text helpers: hex, UTF-8, time, numbers, domain names. No I/O, no logging. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define DOMAIN_NAME_MAX 253 /* RFC 1035 2.3.4, dotted text without the root dot */

bool text_is_utf8(const char *s, size_t size);
/* UTF-8 without control characters (C0, C1, DEL) but tab. */
bool text_is_line(const char *s, size_t size);
/* ret has room for 2*size+1. */
void hex_encode(const uint8_t *data, size_t size, char *ret);
/* Exactly 2*size lower- or upper-case digits; -EINVAL otherwise. */
int hex_decode(const char *text, uint8_t *ret, size_t size);
/* Whole string is a decimal number in [0, max]; -EINVAL, -ERANGE. */
int parse_u64(const char *text, uint64_t max, uint64_t *ret);
/* RFC 3339 with 'Z' only: 2026-11-21T00:00:00Z. -EINVAL malformed or impossible date. */
int time_parse(const char *text, time_t *ret);
/* RFC 3339 date: 2026-11-21, at 00:00:00Z. */
int date_parse(const char *text, time_t *ret);
#define TIME_TEXT_MAX 32
/* Either of them. */
int time_or_date_parse(const char *text, time_t *ret);
const char *time_format(time_t t, char buf[static TIME_TEXT_MAX]);
/* Lower-case, strip one trailing dot, check label lengths and characters
 * (letters, digits, '-', '_'; a single label is fine). -EINVAL, -E2BIG. */
int domain_normalise(const char *text, size_t size, char ret[static DOMAIN_NAME_MAX + 1]);
/* Copy with every byte that is not printable ASCII or valid UTF-8 letter as \xNN. */
void text_escape(const char *s, char *buf, size_t size);
/* Copy with what is quoted, from the first quotation mark to the last, as '…': it is what a message repeats of its input. */
void text_unquote(const char *s, char *buf, size_t size);
bool text_starts_with(const char *s, const char *prefix);
bool text_ends_with(const char *s, const char *suffix);
