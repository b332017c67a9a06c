/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "trust/minisign.h"
#include "trust/trust.h"

#define PREHASH_BYTES crypto_generichash_BYTES_MAX /* BLAKE2b-512 */

/* The global signature covers the signature and the trusted comment behind it. */
struct signed_comment {
        uint8_t signature[64];
        char comment[TRUST_COMMENT_MAX];
        size_t comment_size;
};

static bool is_signed_by(const struct trust_key *key, const struct signed_comment *c,
                         const uint8_t hash[static PREHASH_BYTES], const uint8_t global[static 64])
{
        if (crypto_sign_verify_detached(c->signature, hash, PREHASH_BYTES, key->public_key) < 0)
                return false;
        return crypto_sign_verify_detached(global, (const uint8_t *)c, sizeof(c->signature) + c->comment_size,
                                           key->public_key) == 0;
}

static int signature_read(struct minisign_text *t, struct minisign_signature *s, struct signed_comment *c,
                          uint8_t global[static 64])
{
        const char *comment;
        size_t size;
        int r;

        r = minisign_read_comment(t, MINISIGN_UNTRUSTED, &comment, &size);
        if (r < 0)
                return r;
        r = minisign_read_base64(t, s, sizeof(*s));
        if (r < 0)
                return r;
        if (memcmp(s->alg, MINISIGN_ALG_KEY, sizeof(s->alg)) == 0)
                return diag_set(t->reterr, -EBADMSG, t->file, t->line,
                                "legacy signature without prehashing: sign again without 'minisign -l'");
        if (memcmp(s->alg, MINISIGN_ALG_PREHASHED, sizeof(s->alg)) != 0)
                return diag_set(t->reterr, -EBADMSG, t->file, t->line, "unknown kind of signature");
        r = minisign_read_comment(t, MINISIGN_TRUSTED, &comment, &size);
        if (r < 0)
                return r;
        if (size >= sizeof(c->comment))
                return diag_set(t->reterr, -EBADMSG, t->file, t->line, "trusted comment longer than %d bytes",
                                TRUST_COMMENT_MAX - 1);
        memcpy(c->signature, s->signature, sizeof(c->signature));
        memcpy(c->comment, comment, size);
        c->comment[size] = 0;
        c->comment_size = size;
        return minisign_read_base64(t, global, 64);
}

static int verify_one(const struct trust_key *keys, size_t n_keys, struct minisign_text *t,
                      const uint8_t hash[static PREHASH_BYTES], struct trust_signature *ret, struct diag *reterr)
{
        struct minisign_signature s;
        struct signed_comment c;
        char id[TRUST_KEY_ID_TEXT];
        uint8_t global[64];
        bool found = false;
        int r;

        r = signature_read(t, &s, &c, global);
        if (r < 0)
                return r;
        memcpy(ret->key_id, s.id, sizeof(ret->key_id));
        for (size_t i = 0; i < n_keys; i++) {
                if (memcmp(keys[i].id, s.id, sizeof(s.id)) != 0)
                        continue;
                found = true;
                if (!is_signed_by(&keys[i], &c, hash, global))
                        continue;
                memcpy(ret->comment, c.comment, c.comment_size + 1);
                return 0;
        }
        if (!found)
                return -ENOKEY;
        trust_key_id_format(s.id, id);
        return diag_set(reterr, -EKEYREJECTED, t->file, 0,
                        "the signature by key %s is wrong: file or comment was changed", id);
}

int trust_verify(const struct trust_key *keys, size_t n_keys, const struct trust_file *f,
                 struct trust_signature ret[static TRUST_SIGNATURES_MAX], size_t *ret_n,
                 uint8_t ret_stranger[static 8], struct diag *reterr)
{
        struct minisign_text t = {
                .next = f->minisig, .end = f->minisig + f->minisig_size, .file = f->name, .reterr = reterr};
        struct trust_signature found[TRUST_SIGNATURES_MAX];
        uint8_t hash[PREHASH_BYTES];
        size_t n = 0;
        int r;

        if (sodium_init() < 0)
                return -EIO;
        if (f->minisig_size > TRUST_SIGNATURE_MAX_BYTES)
                return diag_set(reterr, -EBADMSG, f->name, 0, "signature larger than %d bytes",
                                TRUST_SIGNATURE_MAX_BYTES);
        crypto_generichash(hash, sizeof(hash), f->data, f->size, NULL, 0);
        for (size_t i = 0; i == 0 || t.next < t.end; i++) {
                if (i == TRUST_SIGNATURES_MAX)
                        return diag_set(reterr, -EBADMSG, f->name, 0, "more than %d signatures",
                                        TRUST_SIGNATURES_MAX);
                r = verify_one(keys, n_keys, &t, hash, &found[n], reterr);
                if (r == -ENOKEY)
                        memcpy(ret_stranger, found[n].key_id, sizeof(found[n].key_id));
                else if (r < 0)
                        return r;
                else
                        n++;
        }
        memcpy(ret, found, n * sizeof(*ret));
        *ret_n = n;
        return 0;
}

int trust_sign(const struct trust_secret *secret, const void *data, size_t size, const char *trusted_comment,
               char **ret_signature_text)
{
        struct minisign_signature s = {.alg = MINISIGN_ALG_PREHASHED};
        struct signed_comment c = {.comment_size = strlen(trusted_comment)};
        uint8_t hash[PREHASH_BYTES], global[64];
        _cleanup_buf_ struct buf b = {0};
        char *text;

        if (c.comment_size >= sizeof(c.comment) || !text_is_line(trusted_comment, c.comment_size))
                return -EINVAL;
        if (sodium_init() < 0)
                return -EIO;
        crypto_generichash(hash, sizeof(hash), data, size, NULL, 0);
        crypto_sign_detached(s.signature, NULL, hash, sizeof(hash), secret->secret_key);
        memcpy(s.id, secret->id, sizeof(s.id));
        memcpy(c.signature, s.signature, sizeof(c.signature));
        memcpy(c.comment, trusted_comment, c.comment_size + 1);
        crypto_sign_detached(global, NULL, (const uint8_t *)&c, sizeof(c.signature) + c.comment_size,
                             secret->secret_key);
        buf_add_string(&b, MINISIGN_UNTRUSTED "signature from onchannel\n");
        minisign_add_base64(&b, &s, sizeof(s));
        buf_addf(&b, MINISIGN_TRUSTED "%s\n", trusted_comment);
        minisign_add_base64(&b, global, sizeof(global));
        text = buf_take(&b);
        if (!text)
                return -ENOMEM;
        *ret_signature_text = text;
        return 0;
}

#define SIGNED_AT " signed="

char *trust_comment_new(const char *what, time_t signed_at)
{
        char text[TIME_TEXT_MAX];

        return format_new("%s" SIGNED_AT "%s", what, time_format(signed_at, text));
}

time_t trust_comment_cut(char *comment)
{
        char *last = NULL;
        time_t t;

        for (char *at = strstr(comment, SIGNED_AT); at; at = strstr(at + 1, SIGNED_AT))
                last = at;
        if (!last || time_parse(last + strlen(SIGNED_AT), &t) < 0)
                return 0;
        *last = 0;
        return t;
}
