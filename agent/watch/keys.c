/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keys of the maps of a rule set, and the filter before them. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "agent/watch/internal.h"

#define KEYS_PER_WORD   4 /* 16 bits a key: one look-up in 16 of what is nobody's goes on */
#define FILTER_MIN      64
#define FILTER_MAX      (1u << 23) /* words */
#define FILTER_TOP_BITS 12 /* that a prefix may leave open: a shorter one is everywhere */
#define TAIL_LABEL_MAX  63 /* RFC 1035 2.3.4 */
#define TAIL_MAX        (2 * (TAIL_LABEL_MAX + 1))

/* See port_match() in bpf/connect.bpf.c. */
bool watch_port_key(const struct ruleset *r, const struct rule_entry *e, struct oc_name_key *ret)
{
        unsigned port = (unsigned)strtoul(e->value, NULL, 10);

        if (r->channels[e->channel].category != CATEGORY_ENCRYPTED_DNS)
                return false;
        oc_key_byte(ret, e->kind == ENTRY_PORT_TCP ? IPPROTO_TCP : IPPROTO_UDP);
        oc_key_byte(ret, (uint8_t)(port >> 8));
        oc_key_byte(ret, (uint8_t)port);
        *ret = oc_key_of_kind(ret, OC_KEY_PORT);
        return true;
}

bool watch_entry_key(const struct ruleset *r, const struct rule_entry *e, struct oc_name_key *ret)
{
        size_t size = strlen(e->value);
        bool name = entry_is_domain(e->kind);

        oc_key_init(ret);
        if (e->kind == ENTRY_PORT_TCP || e->kind == ENTRY_PORT_UDP)
                return watch_port_key(r, e, ret);
        if (name)
                oc_key_name(ret, e->value, (uint32_t)size);
        for (size_t i = 0; !name && i < size; i++)
                oc_key_byte(ret, (uint8_t)e->value[i]);
        switch (e->kind) {
        case ENTRY_SUFFIX:
        case ENTRY_EXCEPT:
                *ret = oc_key_of_kind(ret, OC_KEY_SUFFIX);
                return true;
        case ENTRY_EXACT:
        case ENTRY_PROBE:
                *ret = oc_key_of_kind(ret, OC_KEY_EXACT);
                return true;
        case ENTRY_PROGRAM_NAME:
                *ret = oc_key_of_kind(ret, OC_KEY_PROGRAM);
                return true;
        case ENTRY_FLATPAK:
                *ret = oc_key_of_kind(ret, OC_KEY_FLATPAK);
                return true;
        case ENTRY_SNAP:
                *ret = oc_key_of_kind(ret, OC_KEY_SNAP);
                return true;
        case ENTRY_PREFIX:
        case ENTRY_PROGRAM_PATH:
        case ENTRY_PROGRAM_ARGV:
        case ENTRY_PACKAGE:
        case ENTRY_BUILD_ID:
        case ENTRY_SHA256:
        case ENTRY_WEB_URL:
        case ENTRY_WEB_PWA:
        case ENTRY_PORT_TCP:
        case ENTRY_PORT_UDP:
        case _ENTRY_KIND_MAX:
                break;
        }
        return false;
}

struct oc_prefix_key watch_prefix_key(const struct prefix *p)
{
        struct oc_prefix_key k = {.length = p->length};

        if (p->family == AF_INET6) {
                memcpy(k.address, p->address, 16);
        } else {
                k.length += 96;
                k.address[10] = k.address[11] = 0xff;
                memcpy(k.address + 12, p->address, 4);
        }
        return k;
}

/* The last two labels of a domain name as they stand on the wire. Returns their size; *ret_top is that of the last one. */
static uint32_t wire_tail(const char *name, uint8_t ret[static TAIL_MAX], uint32_t *ret_top)
{
        size_t at = strlen(name), n = 0;

        for (unsigned label = 0; label < 2 && at > 0; label++) {
                size_t end = at;

                while (at > 0 && name[at - 1] != '.')
                        at--;
                if (end - at > TAIL_LABEL_MAX)
                        break; /* no query has it */
                memcpy(ret + TAIL_MAX - n - (end - at), name + at, end - at);
                n += end - at + 1;
                ret[TAIL_MAX - n] = (uint8_t)(end - at);
                if (label == 0)
                        *ret_top = (uint32_t)n;
                at -= at > 0; /* the dot */
        }
        return (uint32_t)n;
}

static uint64_t word_before(const uint8_t *end)
{
        uint64_t word;

        memcpy(&word, end - sizeof(word), sizeof(word));
        return word;
}

bool watch_tail(const char *name, uint32_t *ret_sum, uint32_t *ret_top)
{
        uint8_t wire[sizeof(uint64_t) + TAIL_MAX] = {}, *end = wire + sizeof(wire);
        uint32_t top = 0, n = wire_tail(name, wire + sizeof(uint64_t), &top);
        uint64_t h = 0;

        for (uint32_t at = 0; at < n; at += 8)
                h = oc_tail_add(h, word_before(end - at), n - at);
        *ret_sum = oc_tail_sum(h);
        *ret_top = oc_tail_top(word_before(end), top);
        return n > top;
}

uint64_t watch_tops(const struct ruleset *r)
{
        uint64_t tops = 0;
        uint32_t sum, top;

        for (uint32_t i = 1; i < r->n_entries; i++)
                if (entry_is_domain(r->entries[i].kind) && !watch_tail(r->entries[i].value, &sum, &top))
                        tops |= 1ull << top;
        return tops;
}

static bool is_mapped(const struct oc_prefix_key *k)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

        return k->length >= 96 && memcmp(k->address, mapped, sizeof(mapped)) == 0;
}

/* How many leading bits of an address the filter looks at. */
static uint32_t top_bits(const struct oc_prefix_key *k)
{
        return is_mapped(k) ? 96 + OC_TOP4_BITS : OC_TOP6_BITS;
}

/* How many different ones a prefix has of these; 0: too many, or it may hold mapped addresses as well. */
static uint32_t count_tops(const struct oc_prefix_key *k)
{
        static const uint8_t unmapped[10];
        uint32_t bits = top_bits(k), open = k->length < bits ? bits - k->length : 0;

        if (open > FILTER_TOP_BITS || (!is_mapped(k) && memcmp(k->address, unmapped, sizeof(unmapped)) == 0))
                return 0;
        return 1u << open;
}

uint32_t watch_filter_words(const struct ruleset *r)
{
        uint32_t n = FILTER_MIN;
        uint64_t keys = 0;

        for (size_t i = 1; i < r->n_entries; i++) {
                struct oc_prefix_key k = watch_prefix_key(&r->entries[i].prefix);

                keys += r->entries[i].kind == ENTRY_PREFIX ? count_tops(&k)
                                                           : 1u + entry_is_domain(r->entries[i].kind);
        }
        while (n < keys / KEYS_PER_WORD && n < FILTER_MAX)
                n *= 2;
        return n;
}

static void add_sum(uint64_t *words, uint32_t n, uint32_t sum)
{
        words[sum >> 6 & (n - 1)] |= 1ull << (sum & 63);
}

static void add_tops(uint64_t *words, uint32_t n, struct oc_prefix_key k)
{
        uint32_t bits = top_bits(&k), tops = count_tops(&k), top_be, first;
        uint8_t *word = k.address + (bits / 8 - sizeof(top_be));

        if (tops == 0)
                memset(words, 0xff, n * sizeof(*words));
        memcpy(&top_be, word, sizeof(top_be));
        first = ntohl(top_be) & ~(tops - 1);
        for (uint32_t i = 0; i < tops; i++) {
                top_be = htonl(first | i);
                memcpy(word, &top_be, sizeof(top_be));
                add_sum(words, n, oc_address_sum(&k));
        }
}

void watch_filter_fill(const struct ruleset *r, uint64_t *words, uint32_t n)
{
        for (uint32_t i = 1; i < r->n_entries; i++) {
                struct oc_name_key k;
                uint32_t sum, top;

                if (r->entries[i].kind == ENTRY_PREFIX)
                        add_tops(words, n, watch_prefix_key(&r->entries[i].prefix));
                else if (watch_entry_key(r, &r->entries[i], &k))
                        add_sum(words, n, oc_key_sum(&k));
                if (entry_is_domain(r->entries[i].kind) && watch_tail(r->entries[i].value, &sum, &top))
                        add_sum(words, n, sum);
        }
}
