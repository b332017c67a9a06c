/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include "content/content.h"
#include "base/cleanup.h"
#include "base/text.h"

#define NS_PER_S 1000000000ull

static void take_elf(struct content *c, const struct elf_info *e)
{
        c->loaded_bytes = e->loaded_bytes;
        hex_encode(e->build_id, e->build_id_size, c->build_id);
}

int content_read(int fd, struct content *ret)
{
        struct content c = {};
        struct elf_info e;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        c.dev = st.st_dev;
        c.ino = st.st_ino;
        c.ctime_ns = (uint64_t)st.st_ctim.tv_sec * NS_PER_S + (uint64_t)st.st_ctim.tv_nsec;
        c.size = (uint64_t)st.st_size;
        r = elf_read(fd, 0, &e);
        if (r == 0)
                take_elf(&c, &e);
        else if (r != -ENOEXEC && r != -EBADMSG)
                return r;
        *ret = c;
        return 0;
}

int content_read_memory(int proc_fd, uint64_t address, struct content *ret)
{
        _cleanup_fd_ int fd = openat(proc_fd, "mem", O_RDONLY | O_CLOEXEC);
        struct content c = {};
        struct elf_info e;
        int r;

        if (fd < 0)
                return -errno;
        r = elf_read(fd, address, &e);
        if (r < 0)
                return r;
        take_elf(&c, &e);
        *ret = c;
        return 0;
}

/* At most size bytes from offset. */
static int read_at(int fd, uint64_t offset, void *ret, size_t size, size_t *ret_size)
{
        size_t done = 0;

        while (done < size) {
                ssize_t n = pread(fd, (uint8_t *)ret + done, size - done, (off_t)(offset + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t)n;
        }
        *ret_size = done;
        return 0;
}

int content_add_print(int fd, struct content *c, char **ret_head)
{
        _cleanup_free_ char *head = malloc(CONTENT_HEAD_BYTES + 1);
        size_t size;
        int r;

        if (!head)
                return -ENOMEM;
        r = read_at(fd, 0, head, CONTENT_HEAD_BYTES, &size);
        if (r < 0)
                return r;
        head[size] = '\0';
        crypto_hash_sha256(c->print, (const uint8_t *)head, size);
        for (size_t i = 0; i < sizeof(c->size); i++) /* its size stands in front: few files share even that */
                c->print[i] = (uint8_t)(c->size >> (8 * i));
        c->has_print = true;
        if (ret_head)
                *ret_head = TAKE_PTR(head);
        return 0;
}

int content_add_sha256(int fd, struct content *c, const atomic_bool *stop)
{
        _cleanup_free_ uint8_t *chunk = malloc(CONTENT_HEAD_BYTES);
        uint8_t hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256_state s;
        size_t size = 1;

        if (c->size > CONTENT_HASH_MAX)
                return 0;
        if (!chunk)
                return -ENOMEM;
        crypto_hash_sha256_init(&s);
        for (uint64_t at = 0; size > 0 && at < CONTENT_HASH_MAX; at += size) {
                int r = read_at(fd, at, chunk, CONTENT_HEAD_BYTES, &size);

                if (r < 0)
                        return r;
                if (*stop)
                        return -ECANCELED;
                crypto_hash_sha256_update(&s, chunk, size);
        }
        crypto_hash_sha256_final(&s, hash);
        hex_encode(hash, sizeof(hash), c->sha256);
        return 0;
}
