/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "spool/segment.h"
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

/* RFC 3720 B.4: CRC-32C, polynomial 0x1edc6f41, here reflected and four bits at a time. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
        static const uint32_t table[16] = {
                0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
        };
        const uint8_t *p = data;

        crc = ~crc;
        for (size_t i = 0; i < size; i++) {
                crc ^= p[i];
                crc = crc >> 4 ^ table[crc & 15];
                crc = crc >> 4 ^ table[crc & 15];
        }
        return ~crc;
}

static uint32_t read_be32(const uint8_t *p)
{
        uint32_t v;

        memcpy(&v, p, sizeof(v));
        return be32toh(v);
}

static uint64_t read_be64(const uint8_t *p)
{
        uint64_t v;

        memcpy(&v, p, sizeof(v));
        return be64toh(v);
}

void segment_header_encode(const struct segment_header *h, struct buf *out)
{
        buf_add_string(out, SEGMENT_MAGIC);
        buf_add_be64(out, h->first);
        buf_add(out, h->prev, CHAIN_HASH_SIZE);
}

static void add_frame(struct buf *out, const struct buf *body)
{
        buf_add_be32(out, (uint32_t)body->size);
        buf_add_be32(out, crc32c(0, body->data, body->size));
        buf_add(out, body->data, body->size);
        if (buf_error(body) < 0)
                out->error = buf_error(body);
}

void frame_record_encode(const struct frame *record, struct buf *out)
{
        _cleanup_buf_ struct buf body = {0};

        buf_add(&body, &(uint8_t){FRAME_RECORD}, 1);
        buf_add_be64(&body, record->seq);
        buf_add(&body, record->salt, CHAIN_SALT_SIZE);
        buf_add(&body, record->hash, CHAIN_HASH_SIZE);
        buf_add(&body, record->record, record->record_size);
        add_frame(out, &body);
}

void frame_seal_encode(const struct chain_seal *seal, const char *boot, struct buf *out)
{
        _cleanup_buf_ struct buf body = {0};
        char padded[BOOT_ID_SIZE + 1];

        snprintf(padded, sizeof(padded), "%-36.36s", boot);
        buf_add(&body, &(uint8_t){FRAME_SEAL}, 1);
        buf_add_be64(&body, seal->first);
        buf_add_be64(&body, seal->n);
        buf_add(&body, seal->prev, CHAIN_HASH_SIZE);
        buf_add(&body, seal->head, CHAIN_HASH_SIZE);
        buf_add(&body, seal->signature, CHAIN_SIGNATURE_SIZE);
        buf_add(&body, padded, BOOT_ID_SIZE);
        add_frame(out, &body);
}

static void seal_decode(const uint8_t *p, struct frame *ret)
{
        *ret = (struct frame){.type = FRAME_SEAL};
        ret->seal.first = read_be64(p);
        ret->seal.n = read_be64(p + 8);
        p += 16;
        memcpy(ret->seal.prev, p, CHAIN_HASH_SIZE);
        memcpy(ret->seal.head, p + CHAIN_HASH_SIZE, CHAIN_HASH_SIZE);
        p += 2 * CHAIN_HASH_SIZE;
        memcpy(ret->seal.signature, p, CHAIN_SIGNATURE_SIZE);
        memcpy(ret->boot, p + CHAIN_SIGNATURE_SIZE, BOOT_ID_SIZE);
}

void segment_name(uint64_t first, char ret[static SEGMENT_NAME_MAX])
{
        snprintf(ret, SEGMENT_NAME_MAX, "%020" PRIu64 SEGMENT_SUFFIX, first);
}

static int compare_u64(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

static void dir_closep(DIR **d)
{
        if (*d)
                closedir(*d);
}

static bool parse_name(const char *name, uint64_t *ret)
{
        char digits[21];

        if (strlen(name) != 20 + strlen(SEGMENT_SUFFIX) || !text_ends_with(name, SEGMENT_SUFFIX))
                return false;
        memcpy(digits, name, 20);
        digits[20] = '\0';
        return parse_u64(digits, INT64_MAX, ret) == 0 && *ret > 0;
}

int segment_list(int dir_fd, uint64_t **ret, size_t *ret_n)
{
        _cleanup_(dir_closep) DIR *d = NULL;
        _cleanup_free_ uint64_t *list = NULL;
        _cleanup_fd_ int fd = -1;
        size_t n = 0;

        fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d)
                return -errno;
        TAKE_FD(fd);

        for (struct dirent *e; (e = readdir(d));) {
                uint64_t first, *grown;

                if (!parse_name(e->d_name, &first))
                        continue;
                if (n == SEGMENTS_MAX)
                        return -E2BIG;
                grown = reallocarray(list, n + 1, sizeof(*list));
                if (!grown)
                        return -ENOMEM;
                list = grown;
                list[n++] = first;
        }
        if (n > 0)
                qsort(list, n, sizeof(*list), compare_u64);
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

/* 1, or at the end or a torn tail 0; -EIO. */
static int read_exactly(struct segment_reader *s, void *data, size_t size)
{
        if (fread(data, 1, size, s->f) == size)
                return 1;
        return ferror(s->f) ? -EIO : 0;
}

int segment_open(int dir_fd, uint64_t first, struct segment_reader *s, struct segment_header *ret)
{
        uint8_t header[SEGMENT_HEADER_SIZE];
        char name[SEGMENT_NAME_MAX];
        _cleanup_fd_ int fd = -1;
        int r;

        segment_name(first, name);
        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        s->f = fdopen(fd, "re");
        if (!s->f)
                return -errno;
        TAKE_FD(fd);
        s->good = 0;

        r = read_exactly(s, header, sizeof(header));
        if (r < 0)
                return r;
        if (r == 0 || memcmp(header, SEGMENT_MAGIC, 8) != 0 || read_be64(header + 8) != first)
                return -EBADMSG;
        s->good = SEGMENT_HEADER_SIZE;
        ret->first = first;
        memcpy(ret->prev, header + 16, CHAIN_HASH_SIZE);
        return 0;
}

void segment_done(struct segment_reader *s)
{
        if (s->f)
                fclose(s->f);
        s->f = NULL;
}

static int record_skip(struct segment_reader *s, size_t rest, uint64_t seq, struct frame *ret)
{
        if (fseeko(s->f, (off_t)rest, SEEK_CUR) < 0)
                return -errno;
        *ret = (struct frame){.type = FRAME_RECORD, .seq = seq};
        return 1;
}

int segment_next(struct segment_reader *s, uint64_t from, struct frame *ret)
{
        uint8_t head[FRAME_HEAD_SIZE + 1];
        uint32_t size, crc;
        size_t n;
        int r;

        n = fread(head, 1, sizeof(head), s->f);
        if (n < sizeof(head))
                return ferror(s->f) ? -EIO : n == 0 ? 0 : -EBADMSG;
        size = read_be32(head);
        crc = read_be32(head + 4);
        s->body[0] = head[FRAME_HEAD_SIZE];
        if (s->body[0] == FRAME_RECORD ? size <= RECORD_OVERHEAD - FRAME_HEAD_SIZE || size > FRAME_BODY_MAX
                                       : s->body[0] != FRAME_SEAL || size != SEAL_BODY_SIZE)
                return -EBADMSG;

        r = read_exactly(s, s->body + 1, 8);
        if (r <= 0)
                return r < 0 ? r : -EBADMSG;
        if (s->body[0] == FRAME_RECORD && read_be64(s->body + 1) < from) {
                s->good += FRAME_HEAD_SIZE + size;
                return record_skip(s, size - 9, read_be64(s->body + 1), ret);
        }
        r = read_exactly(s, s->body + 9, size - 9);
        if (r < 0)
                return r;
        if (r == 0 || crc32c(0, s->body, size) != crc)
                return -EBADMSG;

        s->good += FRAME_HEAD_SIZE + size;
        if (s->body[0] == FRAME_SEAL)
                seal_decode(s->body + 1, ret);
        else
                *ret = (struct frame){
                        .type = FRAME_RECORD,
                        .seq = read_be64(s->body + 1),
                        .salt = s->body + 9,
                        .hash = s->body + 9 + CHAIN_SALT_SIZE,
                        .record = (const char *)s->body + RECORD_OVERHEAD - FRAME_HEAD_SIZE,
                        .record_size = size - (RECORD_OVERHEAD - FRAME_HEAD_SIZE),
                };
        return 1;
}

int segment_has_seal(struct segment_reader *s)
{
        uint8_t window[SEAL_FRAME_SIZE];
        size_t n;

        if (fseeko(s->f, (off_t)s->good, SEEK_SET) < 0)
                return -errno;
        n = fread(window, 1, sizeof(window), s->f);
        while (n == sizeof(window)) {
                int c;

                if (read_be32(window) == SEAL_BODY_SIZE && window[FRAME_HEAD_SIZE] == FRAME_SEAL &&
                    crc32c(0, window + FRAME_HEAD_SIZE, SEAL_BODY_SIZE) == read_be32(window + 4))
                        return 1;
                c = getc_unlocked(s->f);
                if (c == EOF)
                        break;
                memmove(window, window + 1, sizeof(window) - 1);
                window[sizeof(window) - 1] = (uint8_t)c;
        }
        return ferror(s->f) ? -EIO : 0;
}
