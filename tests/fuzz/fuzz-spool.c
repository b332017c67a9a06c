/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any bytes as a segment: the spool opens, its chain goes on, and all of it can be read. The
 * corpus was written by the device with the key that is all zeros. */
#include <ftw.h>
#include <sodium.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "spool/spool.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint8_t seed[32];
        uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
        char dir[] = "/dev/shm/fuzz-spool-XXXXXX", path[64], id[DEVICE_ID_MAX];
        struct spool *s = NULL;
        uint64_t first, last;

        crypto_sign_seed_keypair(public_key, secret, seed);
        device_id_format(public_key, id);
        if (!mkdtemp(dir))
                abort();
        snprintf(path, sizeof(path), "%s/00000000000000000001.seg", dir);
        if (file_write_atomic(path, data, size, 0600) < 0 ||
            spool_open(&(struct spool_options){.dir = dir,
                                               .device_id = id,
                                               .public_key = public_key,
                                               .secret = secret,
                                               .group = -1,
                                               .boot_id = "00000000-0000-0000-0000-000000000000"},
                       &s) < 0 ||
            spool_append(s, "{}", 2) < 0 || spool_seal(s) < 0)
                abort();
        for (uint64_t after = 0; after + 1 < spool_state(s)->next_seq; after = last) {
                _cleanup_free_ char *text = NULL;
                if (spool_read_batch(dir, id, after, &text, &size, &first, &last) < 0)
                        abort();
        }
        spool_free(s);
        return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
