/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/text.h"
#include "record/note.h"

void note_secret_new(const char *name, char ret[static NOTE_SECRET_TEXT_MAX])
{
        uint8_t seed[crypto_sign_SEEDBYTES];
        char hex[2 * sizeof(seed) + 1];

        randombytes_buf(seed, sizeof(seed));
        hex_encode(seed, sizeof(seed), hex);
        snprintf(ret, NOTE_SECRET_TEXT_MAX, "%.*s %s\n", NOTE_NAME_MAX - 1, name, hex);
        sodium_memzero(seed, sizeof(seed));
        sodium_memzero(hex, sizeof(hex));
}

int note_secret_parse(const char *text, enum note_kind kind, struct note_key *ret,
                      uint8_t ret_secret[static NOTE_SECRET_SIZE])
{
        uint8_t seed[crypto_sign_SEEDBYTES], public_key[NOTE_KEY_SIZE];
        char name[NOTE_NAME_MAX], hex[2 * sizeof(seed) + 1];
        const char *space = strchr(text, ' ');
        int r = -EINVAL;

        if (!space || space - text >= NOTE_NAME_MAX || strlen(space + 1) != sizeof(hex) || space[sizeof(hex)] != '\n')
                return -EINVAL;
        snprintf(name, sizeof(name), "%.*s", (int)(space - text), text);
        snprintf(hex, sizeof(hex), "%s", space + 1);
        if (hex_decode(hex, seed, sizeof(seed)) == 0) {
                crypto_sign_seed_keypair(public_key, ret_secret, seed);
                r = note_key_init(ret, name, kind, public_key);
        }
        sodium_memzero(seed, sizeof(seed));
        sodium_memzero(hex, sizeof(hex));
        return r;
}
