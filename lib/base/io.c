/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define READ_CHUNK_BYTES 65536u
#define NUMBER_MAX_BYTES 32
#define SET_ASIDE_MAX    64

/* Files of /proc say size 0: read to the end, whatever fstat said. */
static int fd_read(int fd, size_t max, struct buf *b)
{
        for (;;) {
                size_t want = max - b->size < READ_CHUNK_BYTES ? max - b->size + 1 : READ_CHUNK_BYTES;
                void *room = buf_extend(b, want);
                ssize_t n;

                if (!room)
                        return buf_error(b);
                n = read(fd, room, want);
                b->size -= want - (n > 0 ? (size_t)n : 0);
                b->data[b->size] = 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (b->size > max)
                        return -EFBIG;
                if (n == 0)
                        return 0;
        }
}

int file_read_at(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size)
{
        _cleanup_buf_ struct buf b = {0};
        _cleanup_fd_ int fd = -1;
        struct stat st;
        size_t size;
        char *text;
        int r;

        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        if (st.st_size > 0 && (size_t)st.st_size > max)
                return -EFBIG;
        r = fd_read(fd, max, &b);
        if (r < 0)
                return r;
        size = b.size;
        text = buf_take(&b);
        if (!text)
                return -ENOMEM;
        *ret = text;
        if (ret_size)
                *ret_size = size;
        return 0;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_size)
{
        return file_read_at(AT_FDCWD, path, max, ret, ret_size);
}

int fd_write_all(int fd, const void *data, size_t size)
{
        const char *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                size -= (size_t)n;
        }
        return 0;
}

int file_sync_folder(const char *path)
{
        _cleanup_free_ char *folder = NULL;
        _cleanup_fd_ int fd = -1;
        const char *slash = strrchr(path, '/');

        if (!slash)
                folder = strdup(".");
        else
                folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
        if (!folder)
                return -ENOMEM;
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

static int file_fill(int fd, const void *data, size_t size, const struct file_access *a)
{
        int r = fd_write_all(fd, data, size);

        if (r < 0)
                return r;
        if ((a->gid != (gid_t)-1 && fchown(fd, (uid_t)-1, a->gid) < 0) || fchmod(fd, a->mode) < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

int file_read_number(const char *path, uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        int r = file_read(path, NUMBER_MAX_BYTES, &text, NULL);

        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = '\0';
        return parse_u64(text, INT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

char *temporary_name(const char *path)
{
        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;

        return format_new("%.*s.%s.XXXXXX", (int)(name - path), path, name);
}

int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode)
{
        return file_write_atomic_for(path, data, size, &(struct file_access){mode, (gid_t)-1});
}

int file_write_atomic_for(const char *path, const void *data, size_t size, const struct file_access *a)
{
        _cleanup_free_ char *temporary = temporary_name(path);
        _cleanup_fd_ int fd = -1;
        int r;

        if (!temporary)
                return -ENOMEM;
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = file_fill(fd, data, size, a);
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(temporary);
                return r;
        }
        return file_sync_folder(path);
}

static int dir_make_one(const char *path, mode_t mode)
{
        struct stat st;

        if (mkdir(path, mode) >= 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int dir_make(const char *path, mode_t mode)
{
        _cleanup_free_ char *copy = strdup(path);
        int r;

        if (!copy)
                return -ENOMEM;
        for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
                copy[n - 1] = 0;
        for (char *p = copy; *p; p++) {
                if (*p != '/' || p == copy)
                        continue;
                *p = 0;
                r = dir_make_one(copy, 0755);
                if (r < 0)
                        return r;
                *p = '/';
        }
        return dir_make_one(copy, mode);
}

int path_set_aside(const char *path)
{
        for (unsigned i = 1; i <= SET_ASIDE_MAX; i++) {
                _cleanup_free_ char *name =
                        i == 1 ? format_new("%s.damaged", path) : format_new("%s.damaged%u", path, i);

                if (!name)
                        return -ENOMEM;
                if (renameat2(AT_FDCWD, path, AT_FDCWD, name, RENAME_NOREPLACE) >= 0)
                        return 0;
                if (errno != EEXIST)
                        return -errno;
        }
        return -EEXIST;
}

char *format_new(const char *format, ...)
{
        char *s = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&s, format, ap);
        va_end(ap);
        return n < 0 ? NULL : s;
}
