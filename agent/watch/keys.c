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
        bool name = e->kind == ENTRY_SUFFIX || e->kind == ENTRY_EXACT || e->kind == ENTRY_EXCEPT;

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

                keys += r->entries[i].kind == ENTRY_PREFIX ? count_tops(&k) : 1;
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

                if (r->entries[i].kind == ENTRY_PREFIX)
                        add_tops(words, n, watch_prefix_key(&r->entries[i].prefix));
                else if (watch_entry_key(r, &r->entries[i], &k))
                        add_sum(words, n, oc_key_sum(&k));
        }
}
