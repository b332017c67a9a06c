/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The first byte says which role; by one of its bits the file is signed here, so that the parsers behind the signature are
 * reached; else the input brings its signature, which nobody can make. What is refused says why. */
#include "tests/fuzz/signed.h"

static const char secret_text[] =
        "untrusted comment: a key for this only\n"
        "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAXDoxAjnl+"
        "u5Cwb7Q270Wlnou7hIa9HrpFCs3Eiux"
        "1qWzdS2LXHxqDkooSKxH/PtZSQ0HjQgmdt1EkkMLHJzUUBbuW3FlpMShAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct trust_file f = {.name = "f", .data = data + 1, .minisig = (const char *)data + 1};
        const uint8_t *cut = size > 0 ? memchr(data + 1, 0, size - 1) : NULL;
        _cleanup_free_ char *comment = NULL, *minisig = NULL;
        struct trust_ring ring = {0};
        struct trust_secret secret;
        struct trust_verdict v;
        struct trust_key key;
        struct diag d = {0};

        if (!cut || trust_secret_parse(secret_text, strlen(secret_text), "k", NULL, &secret, NULL) < 0 ||
            trust_key_from_base64("RWRcOjECOeX67kooSKxH/PtZSQ0HjQgmdt1EkkMLHJzUUBbuW3FlpMSh", &key) < 0 ||
            trust_ring_add(&ring, data[0] % _TRUST_ROLE_MAX, &key) < 0)
                return 0;
        f.minisig_size = (size_t)(cut - (data + 1));
        f.data = cut + 1;
        f.size = size - 1 - f.minisig_size - 1;
        comment = strndup((const char *)data + 1, f.minisig_size);
        if (data[0] & 0x80 && trust_sign(&secret, f.data, f.size, comment, &minisig) >= 0) {
                f.minisig = minisig;
                f.minisig_size = strlen(minisig);
        }
        if (signed_check(&ring, data[0] % _TRUST_ROLE_MAX, &f, &v, &d) >= 0 ? !minisig : !d.text[0])
                abort();
        return 0;
}
