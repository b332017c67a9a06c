/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "record/note.h"
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/text.h"

#define EM_DASH          "\xe2\x80\x94 " /* signed-note, "Format": U+2014 and a space */
#define HASH_BASE64_SIZE 44
#define SIGNATURE_MAX    (4 + 8 + crypto_sign_BYTES)
#define BASE64_MAX       sodium_base64_ENCODED_LEN(SIGNATURE_MAX, sodium_base64_VARIANT_ORIGINAL)

_Static_assert(NOTE_VKEY_MAX > NOTE_NAME_MAX + 10 + 44, "a name, an id, 33 bytes in Base64");
_Static_assert(NOTE_SECRET_SIZE == crypto_sign_SECRETKEYBYTES, "Ed25519");

static void base64_encode(struct buf *out, const uint8_t *data, size_t size)
{
        char text[BASE64_MAX];

        buf_add_string(out, sodium_bin2base64(text, sizeof(text), data, size, sodium_base64_VARIANT_ORIGINAL));
}

/* Exactly one way to write it: unused bits are zero (libsodium checks that), no white space. */
static int base64_decode(const char *text, size_t size, uint8_t *ret, size_t max, size_t *ret_size)
{
        const char *end;

        for (size_t i = 0; i < size; i++) /* libsodium 1.0.18 takes some bytes above 0x7f for letters */
                if ((uint8_t)text[i] > 0x7f)
                        return -EINVAL;
        if (sodium_base642bin(ret, max, text, size, NULL, ret_size, &end, sodium_base64_VARIANT_ORIGINAL) < 0 ||
            end != text + size)
                return -EINVAL;
        return 0;
}

static bool is_name(const char *s)
{
        return *s && strlen(s) < NOTE_NAME_MAX && text_is_line(s, strlen(s)) && !strpbrk(s, " \t+");
}

int note_key_init(struct note_key *k, const char *name, enum note_kind kind,
                  const uint8_t public_key[static NOTE_KEY_SIZE])
{
        uint8_t hash[crypto_hash_sha256_BYTES], type = (uint8_t)kind;
        crypto_hash_sha256_state state;

        if (!is_name(name))
                return -EINVAL;
        *k = (struct note_key){.kind = kind};
        strcpy(k->name, name);
        memcpy(k->public_key, public_key, NOTE_KEY_SIZE);
        crypto_hash_sha256_init(&state);
        crypto_hash_sha256_update(&state, (const uint8_t *)name, strlen(name));
        crypto_hash_sha256_update(&state, (const uint8_t *)"\n", 1);
        crypto_hash_sha256_update(&state, &type, 1);
        crypto_hash_sha256_update(&state, public_key, NOTE_KEY_SIZE);
        crypto_hash_sha256_final(&state, hash);
        memcpy(k->id, hash, sizeof(k->id));
        return 0;
}

int note_key_parse(const char *vkey, struct note_key *ret)
{
        char name[NOTE_NAME_MAX], hex[9];
        uint8_t id[4], key[1 + NOTE_KEY_SIZE];
        const char *plus = strchr(vkey, '+');
        struct note_key k;
        size_t size;

        if (!plus || plus - vkey >= NOTE_NAME_MAX || strlen(vkey) >= NOTE_VKEY_MAX ||
            strspn(plus + 1, "0123456789abcdef") != 8 || plus[9] != '+')
                return -EINVAL;
        snprintf(name, sizeof(name), "%.*s", (int)(plus - vkey), vkey);
        snprintf(hex, sizeof(hex), "%.8s", plus + 1);
        if (hex_decode(hex, id, sizeof(id)) < 0 ||
            base64_decode(plus + 10, strlen(plus + 10), key, sizeof(key), &size) < 0 || size != sizeof(key) ||
            (key[0] != NOTE_ED25519 && key[0] != NOTE_COSIGNATURE) ||
            note_key_init(&k, name, (enum note_kind)key[0], key + 1) < 0 || memcmp(k.id, id, sizeof(id)) != 0)
                return -EINVAL;
        *ret = k;
        return 0;
}

void note_key_format(const struct note_key *k, char ret[static NOTE_VKEY_MAX])
{
        uint8_t key[1 + NOTE_KEY_SIZE] = {(uint8_t)k->kind};
        char id[9], text[BASE64_MAX];

        memcpy(key + 1, k->public_key, NOTE_KEY_SIZE);
        hex_encode(k->id, sizeof(k->id), id);
        sodium_bin2base64(text, sizeof(text), key, sizeof(key), sodium_base64_VARIANT_ORIGINAL);
        stpcpy(stpcpy(stpcpy(stpcpy(stpcpy(ret, k->name), "+"), id), "+"), text);
}

/* What is signed. tlog-cosignature, "Ed25519 signed message". */
static void message_of(struct buf *out, const char *text, size_t size, const struct note_key *k, uint64_t time_s)
{
        if (k->kind == NOTE_COSIGNATURE)
                buf_addf(out, "cosignature/v1\ntime %llu\n", (unsigned long long)time_s);
        buf_add(out, text, size);
}

void note_sign(struct buf *out, const char *text, size_t size, const struct note_key *k,
               const uint8_t secret[static NOTE_SECRET_SIZE], uint64_t time_s)
{
        _cleanup_buf_ struct buf message = {0}, signature = {0};
        uint8_t *p;

        message_of(&message, text, size, k, time_s);
        buf_add(&signature, k->id, sizeof(k->id));
        if (k->kind == NOTE_COSIGNATURE)
                buf_add_be64(&signature, time_s);
        p = buf_extend(&signature, crypto_sign_BYTES);
        if (!p || buf_error(&message) < 0) {
                out->error = -ENOMEM;
                return;
        }
        crypto_sign_detached(p, NULL, message.data, message.size, secret);
        buf_addf(out, EM_DASH "%s ", k->name);
        base64_encode(out, signature.data, signature.size);
        buf_add_string(out, "\n");
}

int note_text(const char *note, size_t size, size_t *ret_size)
{
        const char *blank = NULL;

        if (size == 0 || size > NOTE_MAX_BYTES || note[size - 1] != '\n' || !text_is_utf8(note, size))
                return -EBADMSG;
        for (size_t i = 0; i < size; i++)
                if ((uint8_t)note[i] < 0x20 && note[i] != '\n')
                        return -EBADMSG;
        for (const char *p = note; (p = memmem(p, size - (size_t)(p - note), "\n\n", 2)); p++)
                blank = p; /* the last empty line */
        if (!blank || blank + 2 == note + size)
                return -EBADMSG;
        *ret_size = (size_t)(blank + 1 - note);
        return 0;
}

/* One line "— NAME BASE64": 1 it is of this key, 0 of another, -EBADMSG none. */
static int signature_line(const char *line, size_t size, const struct note_key *k, uint8_t ret[static SIGNATURE_MAX],
                          size_t *ret_size)
{
        const char *name = line + strlen(EM_DASH), *space;
        /* a foreign key's signature may be longer (ML-DSA): only its shape counts */
        size_t name_size;

        if (size <= strlen(EM_DASH) || memcmp(line, EM_DASH, strlen(EM_DASH)) != 0)
                return -EBADMSG;
        space = memchr(name, ' ', size - strlen(EM_DASH));
        if (!space || space == name || space + 1 == line + size)
                return -EBADMSG;
        name_size = (size_t)(space - name);
        if (name_size != strlen(k->name) || memcmp(name, k->name, name_size) != 0)
                return 0;
        if (base64_decode(space + 1, size - (size_t)(space + 1 - line), ret, SIGNATURE_MAX, ret_size) < 0)
                return 0;
        return *ret_size >= 4 && memcmp(ret, k->id, 4) == 0;
}

static int signature_check(const char *text, size_t text_size, const struct note_key *k, const uint8_t *s,
                           size_t size, uint64_t *ret_time_s)
{
        size_t stamp = k->kind == NOTE_COSIGNATURE ? 8 : 0;
        _cleanup_buf_ struct buf message = {0};
        uint64_t time_s = 0;

        if (size != 4 + stamp + crypto_sign_BYTES)
                return -EKEYREJECTED;
        for (size_t i = 0; i < stamp; i++)
                time_s = time_s << 8 | s[4 + i];
        if (time_s > INT64_MAX)
                return -EKEYREJECTED;
        message_of(&message, text, text_size, k, time_s);
        if (buf_error(&message) < 0)
                return buf_error(&message);
        if (crypto_sign_verify_detached(s + 4 + stamp, message.data, message.size, k->public_key) != 0)
                return -EKEYREJECTED;
        if (ret_time_s)
                *ret_time_s = time_s;
        return 0;
}

int note_verify(const char *note, size_t size, const struct note_key *k, uint64_t *ret_time_s)
{
        uint8_t signature[SIGNATURE_MAX];
        size_t text_size, signature_size = 0, end;
        int r = note_text(note, size, &text_size), found = -ENOKEY;

        for (size_t i = text_size + 1, n = 0; r == 0 && i < size; i = end + 1, n++) {
                end = (size_t)((const char *)memchr(note + i, '\n', size - i) - note);
                r = n == NOTE_SIGNATURES_MAX ? -EBADMSG
                                             : signature_line(note + i, end - i, k, signature, &signature_size);
                if (r <= 0)
                        continue;
                r = 0;
                found = signature_check(note, text_size, k, signature, signature_size, ret_time_s);
                if (found < 0) /* signed-note, "Signatures": one that is wrong spoils the note */
                        return found;
        }
        return r < 0 ? r : found;
}

int note_keep(const char *note, size_t size, const char *name, struct buf *out)
{
        _cleanup_buf_ struct buf begin = {0};
        size_t text_size = 0;
        int r = note_text(note, size, &text_size);

        buf_addf(&begin, EM_DASH "%s ", name);
        if (r < 0 || buf_error(&begin) < 0)
                return r < 0 ? r : buf_error(&begin);
        for (const char *p = note + text_size + 1, *end; p < note + size; p = end + 1) {
                end = memchr(p, '\n', (size_t)(note + size - p));
                if ((size_t)(end - p) < begin.size || memcmp(p, begin.data, begin.size) != 0)
                        continue;
                if (out->size == 0)
                        buf_add(out, note, text_size + 1);
                buf_add(out, p, (size_t)(end + 1 - p));
                return buf_error(out);
        }
        return -ENOKEY;
}

/* ---- checkpoints ---- */

void checkpoint_format(const struct checkpoint *c, struct buf *out)
{
        buf_addf(out, "%s\n%llu\n", c->origin, (unsigned long long)c->head.size);
        base64_encode(out, c->head.root, sizeof(c->head.root));
        buf_add_string(out, "\n");
}

int checkpoint_parse(const char *text, size_t size, struct checkpoint *ret)
{
        const char *line[4] = {text}, *end = text + size;
        struct checkpoint c = {0};
        char number[24];
        size_t root_size;

        if (size == 0 || end[-1] != '\n')
                return -EBADMSG;
        for (size_t i = 0; i < 3; i++) {
                const char *newline = line[i] < end ? memchr(line[i], '\n', (size_t)(end - line[i])) : NULL;

                if (!newline || newline == line[i])
                        return -EBADMSG;
                line[i + 1] = newline + 1;
        }
        if (line[1] - line[0] > NOTE_NAME_MAX || line[2] - line[1] > (ptrdiff_t)sizeof(number))
                return -EBADMSG;
        memcpy(c.origin, line[0], (size_t)(line[1] - line[0]) - 1);
        snprintf(number, sizeof(number), "%.*s", (int)(line[2] - line[1]) - 1, line[1]);
        if (!is_name(c.origin) || (number[0] == '0' && number[1]) ||
            parse_u64(number, MERKLE_SIZE_MAX, &c.head.size) < 0 || line[3] - line[2] != HASH_BASE64_SIZE + 1 ||
            base64_decode(line[2], HASH_BASE64_SIZE, c.head.root, sizeof(c.head.root), &root_size) < 0 ||
            root_size != sizeof(c.head.root))
                return -EBADMSG;
        for (const char *p = line[3]; p < end; p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1)
                if (*p == '\n')
                        return -EBADMSG; /* tlog-checkpoint, "Note text": extension lines are not empty */
        *ret = c;
        return 0;
}

int checkpoint_open(const char *note, size_t size, const struct note_key *k, struct checkpoint *ret)
{
        struct checkpoint c;
        size_t text_size = 0;
        int r = note_verify(note, size, k, NULL);

        if (r == 0)
                r = note_text(note, size, &text_size);
        if (r == 0)
                r = checkpoint_parse(note, text_size, &c);
        if (r == 0 && strcmp(c.origin, k->name) != 0)
                r = -EBADMSG;
        if (r == 0)
                *ret = c;
        return r;
}
