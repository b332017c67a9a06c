/* SPDX-License-Identifier: GPL-3.0-or-later */
/* No signature but the one of the corpus passes, and no text of a key breaks the parsers. */
#include <string.h>
#include "base/cleanup.h"
#include "tests/unit/verify.h"
#include "trust/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char public_text[] = "untrusted comment: minisign public key 360E63AC7C5E3D35\n"
                                          "RWQ1PV58rGMONlKUWQMoVP4q33o0R/5dJ3+soI1xpAE+N4L7JgwI3iFY\n";
        const char *text = (const char *)data;
        struct trust_key key, other;
        struct trust_signature s;
        struct trust_secret secret;

        if (trust_key_parse(public_text, strlen(public_text), "k", &key, NULL) < 0)
                abort();
        if (verify_one_of(&key, 1, &(struct trust_file){"s", "hi\n", 3, text, size}, &s, NULL) >= 0 &&
            strcmp(s.comment, "hello there") != 0)
                abort();
        (void)trust_key_parse(text, size, "k", &other, NULL);
        if (trust_secret_parse(text, size, "k", NULL, &secret, NULL) >= 0)
                trust_secret_done(&secret);
        return 0;
}
