/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "evidence/bundle.h"

#define SUM_TAIL ",\"sum\":\"0123456789abcdef\"}"

const char *const bundle_begins[] = {
        [BUNDLE_HEAD] = "{\"onchannel\":",    [BUNDLE_CHECKPOINT] = "{\"checkpoint\":",
        [BUNDLE_COSIGNED] = "{\"cosigned\":", [BUNDLE_DEVICE] = "{\"device\":\"",
        [BUNDLE_BATCH] = "{\"batch\":",       [BUNDLE_AUDIT] = "{\"audit\":",
        [BUNDLE_SEEN] = "{\"seen\":",         [BUNDLE_END] = "{\"end\":",
};
_Static_assert(ELEMENTSOF(bundle_begins) == _BUNDLE_KIND_MAX, "enum bundle_kind");

void bundle_line_done(struct bundle_line *l)
{
        json_decref(l->json);
        l->json = NULL;
}

static bool sum_holds(const char *line, size_t size)
{
        uint8_t sum[crypto_hash_sha256_BYTES];
        char tail[sizeof(SUM_TAIL)] = ",\"sum\":\"";
        size_t body;

        if (size < sizeof(SUM_TAIL) - 1)
                return false;
        body = size - (sizeof(SUM_TAIL) - 1);
        crypto_hash_sha256(sum, (const uint8_t *)line, body);
        hex_encode(sum, BUNDLE_SUM_HEX / 2, tail + strlen(tail));
        strcat(tail, "\"}");
        return memcmp(line + body, tail, sizeof(SUM_TAIL) - 1) == 0;
}

int bundle_line_parse(const char *line, size_t size, struct bundle_line *ret)
{
        enum bundle_kind kind = 0;
        json_t *o;

        while (kind < _BUNDLE_KIND_MAX && (size < strlen(bundle_begins[kind]) ||
                                           memcmp(line, bundle_begins[kind], strlen(bundle_begins[kind])) != 0))
                kind++;
        if (kind == _BUNDLE_KIND_MAX)
                return -ENOMSG;
        if (!sum_holds(line, size))
                return -EBADMSG;
        o = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(o)) {
                json_decref(o);
                return -EBADMSG;
        }
        *ret = (struct bundle_line){kind, o};
        return 0;
}

/* Each *_at() says by *what which member is wrong, and leaves an earlier complaint alone. */
static bool hex_at(json_t *o, const char *key, uint8_t *ret, size_t size, const char **what)
{
        json_t *v = json_object_get(o, key);

        if (json_is_string(v) && json_string_length(v) == 2 * size &&
            hex_decode(json_string_value(v), ret, size) == 0)
                return true;
        *what = *what ? *what : key;
        return false;
}

static uint64_t number_at(json_t *o, const char *key, uint64_t max, const char **what)
{
        json_t *v = json_object_get(o, key);
        json_int_t n = json_integer_value(v);

        if (json_is_integer(v) && n >= 0 && (uint64_t)n <= max)
                return (uint64_t)n;
        *what = *what ? *what : key;
        return 0;
}

static void text_at(json_t *o, const char *key, char *ret, size_t max, const char **what)
{
        json_t *v = json_object_get(o, key);

        if (json_is_string(v) && json_string_length(v) < max && json_string_length(v) == strlen(json_string_value(v)))
                strcpy(ret, json_string_value(v));
        else
                *what = *what ? *what : key;
}

static void proof_at(json_t *o, struct merkle_proof *ret, const char **what)
{
        json_t *list = json_object_get(o, "proof"), *v;
        size_t i;

        ret->n = 0;
        if (!json_is_array(list) || json_array_size(list) > MERKLE_PROOF_MAX) {
                *what = *what ? *what : "proof";
                return;
        }
        json_array_foreach(list, i, v) if (!json_is_string(v) || json_string_length(v) != 2 * MERKLE_HASH_SIZE ||
                                           hex_decode(json_string_value(v), ret->hashes[ret->n++], MERKLE_HASH_SIZE) <
                                                   0) *what = *what ? *what : "proof";
}

static void leaf_at(json_t *o, struct bundle_leaf *ret, const char **what)
{
        *ret = (struct bundle_leaf){0};
        if (!json_object_get(o, "log"))
                return;
        text_at(o, "log", ret->log, sizeof(ret->log), what);
        ret->index = number_at(o, "leaf", MERKLE_SIZE_MAX, what);
        proof_at(o, &ret->proof, what);
}

int bundle_device_parse(json_t *o, struct bundle_device *ret, const char **ret_what)
{
        const char *what = NULL;

        *ret = (struct bundle_device){0};
        text_at(o, "device", ret->id, sizeof(ret->id), &what);
        text_at(o, "name", ret->name, sizeof(ret->name), &what);
        hex_at(o, "key", ret->public_key, sizeof(ret->public_key), &what);
        ret->enrolled_ms = number_at(o, "enrolled", INT64_MAX, &what);
        *ret_what = what;
        return what ? -EBADMSG : 0;
}

static bool record_parse(json_t *v, struct bundle_record *ret)
{
        const char *s = json_string_value(v), *colon;
        char hash[2 * CHAIN_HASH_SIZE + 1] = "";

        if (!s || json_string_length(v) != strlen(s) || strlen(s) < sizeof(hash) - 1)
                return false;
        memcpy(hash, s, sizeof(hash) - 1);
        if (hex_decode(hash, ret->commitment, CHAIN_HASH_SIZE) < 0)
                return false;
        colon = s + sizeof(hash) - 1;
        ret->state = !*colon ? BUNDLE_WITHHELD : strcmp(colon, ":erased") == 0 ? BUNDLE_ERASED : BUNDLE_PRESENT;
        return ret->state != BUNDLE_PRESENT ||
               (*colon == ':' && hex_decode(colon + 1, ret->salt, CHAIN_SALT_SIZE) == 0);
}

static int records_at(json_t *o, struct bundle_batch *b, const char **what)
{
        json_t *list = json_object_get(o, "records"), *v;
        size_t i;

        if (!list || *what)
                return 0;
        if (!json_is_array(list) || json_array_size(list) != b->seal.n) {
                *what = "records";
                return 0;
        }
        b->records = calloc(b->seal.n, sizeof(*b->records));
        if (!b->records)
                return -ENOMEM;
        json_array_foreach(list, i, v) if (!record_parse(v, &b->records[i])) *what = "records";
        return 0;
}

int bundle_batch_parse(json_t *o, struct bundle_batch *ret, const char **ret_what)
{
        struct bundle_batch b = {0};
        const char *what = NULL;
        int r;

        text_at(o, "batch", b.device, sizeof(b.device), &what);
        text_at(o, "boot", b.boot, sizeof(b.boot), &what);
        b.seal.first = number_at(o, "first", INT64_MAX / 2, &what);
        b.seal.n = number_at(o, "n", BATCH_RECORDS_MAX, &what);
        hex_at(o, "prev", b.seal.prev, CHAIN_HASH_SIZE, &what);
        hex_at(o, "head", b.seal.head, CHAIN_HASH_SIZE, &what);
        hex_at(o, "sig", b.seal.signature, CHAIN_SIGNATURE_SIZE, &what);
        b.received_ms = number_at(o, "received", INT64_MAX, &what);
        leaf_at(o, &b.leaf, &what);
        if (json_object_get(o, "gone"))
                b.n_gone = number_at(o, "gone", BATCH_RECORDS_MAX, &what);
        if (!what && (b.seal.n == 0 || b.seal.first == 0))
                what = "n";
        r = records_at(o, &b, &what);
        if (r < 0 || what) {
                free(b.records);
                *ret_what = what;
                return r < 0 ? r : -EBADMSG;
        }
        *ret = b;
        return 0;
}

int bundle_audit_parse(json_t *o, struct bundle_audit *ret, const char **ret_what)
{
        const char *what = NULL;

        *ret = (struct bundle_audit){0};
        ret->number = number_at(o, "audit", INT64_MAX, &what);
        hex_at(o, "salt", ret->salt, sizeof(ret->salt), &what);
        leaf_at(o, &ret->leaf, &what);
        *ret_what = what;
        return what ? -EBADMSG : 0;
}

int bundle_seen_parse(json_t *o, struct bundle_seen *ret, const char **ret_what)
{
        const char *what = NULL;

        *ret = (struct bundle_seen){0};
        ret->head.size = number_at(o, "seen", MERKLE_SIZE_MAX, &what);
        text_at(o, "log", ret->log, sizeof(ret->log), &what);
        hex_at(o, "root", ret->head.root, MERKLE_HASH_SIZE, &what);
        proof_at(o, &ret->proof, &what);
        *ret_what = what;
        return what ? -EBADMSG : 0;
}

int bundle_cosigned_parse(json_t *o, struct merkle_proof *ret, const char **ret_note, const char **ret_what)
{
        const char *what = NULL;

        proof_at(o, ret, &what);
        *ret_note = json_string_value(json_object_get(o, "cosigned"));
        if (!*ret_note)
                what = "cosigned";
        *ret_what = what;
        return what ? -EBADMSG : 0;
}
