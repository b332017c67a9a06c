/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Feeds every file of a corpus folder to a fuzz target, so that each found crash stays a
 * unit test without clang. */
#include <dirent.h>
#include <stdint.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
        unsigned n = 0;

        if (argc != 2)
                return 2;
        DIR *d = opendir(argv[1]);
        if (!d) {
                fprintf(stderr, "cannot open corpus '%s'\n", argv[1]);
                return 1;
        }
        for (struct dirent *e; (e = readdir(d));) {
                _cleanup_free_ char *data = NULL;
                size_t size;

                if (e->d_name[0] == '.')
                        continue;
                if (file_read_at(dirfd(d), e->d_name, 64u << 20, &data, &size) < 0) {
                        fprintf(stderr, "cannot read '%s/%s'\n", argv[1], e->d_name);
                        return 1;
                }
                /* an exact-size copy, so that a sanitizer sees one byte too far */
                _cleanup_free_ uint8_t *copy = malloc(size ? size : 1);
                if (!copy)
                        return 1;
                memcpy(copy, data, size);
                LLVMFuzzerTestOneInput(copy, size);
                n++;
        }
        closedir(d);
        printf("%u inputs replayed\n", n);
        return n > 0 ? 0 : 1;
}
