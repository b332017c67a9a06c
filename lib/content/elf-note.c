/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "content/elf-note.h"
#include "base/cleanup.h"

#define SEGMENTS_MAX   128
#define NOTE_BYTES_MAX 4096 /* of one segment */
#define NOTES_MAX      16 /* segments */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ELF_DATA ELFDATA2LSB
#else
#define ELF_DATA ELFDATA2MSB
#endif

struct elf_file {
        int fd;
        uint64_t base;
        bool is_64;
        uint64_t segments; /* offset of the program headers */
        size_t n_segments;
};

/* Exactly size bytes; -EBADMSG the file ends before them. */
static int read_exactly(const struct elf_file *f, uint64_t offset, void *ret, size_t size)
{
        ssize_t n;

        if (offset > INT64_MAX - f->base)
                return -EBADMSG;
        do
                n = pread(f->fd, ret, size, (off_t)(f->base + offset));
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return (size_t)n == size ? 0 : -EBADMSG;
}

static int read_head(struct elf_file *f)
{
        union {
                unsigned char ident[EI_NIDENT];
                Elf32_Ehdr e32;
                Elf64_Ehdr e64;
        } h;
        int r;

        r = read_exactly(f, 0, h.ident, EI_NIDENT);
        if (r < 0)
                return r == -EBADMSG ? -ENOEXEC : r;
        if (memcmp(h.ident, ELFMAG, SELFMAG) != 0 || h.ident[EI_DATA] != ELF_DATA ||
            (h.ident[EI_CLASS] != ELFCLASS32 && h.ident[EI_CLASS] != ELFCLASS64))
                return -ENOEXEC;
        f->is_64 = h.ident[EI_CLASS] == ELFCLASS64;
        r = read_exactly(f, 0, &h, f->is_64 ? sizeof(h.e64) : sizeof(h.e32));
        if (r < 0)
                return r;
        f->segments = f->is_64 ? h.e64.e_phoff : h.e32.e_phoff;
        f->n_segments = f->is_64 ? h.e64.e_phnum : h.e32.e_phnum;
        /* fs/binfmt_elf.c, load_elf_phdrs(): runs with no other size */
        if ((f->is_64 ? h.e64.e_phentsize : h.e32.e_phentsize) !=
                    (f->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) ||
            f->n_segments > SEGMENTS_MAX)
                return -EBADMSG;
        return 0;
}

static int read_segment(const struct elf_file *f, size_t i, Elf64_Phdr *ret)
{
        Elf32_Phdr p;
        int r;

        if (f->is_64)
                return read_exactly(f, f->segments + i * sizeof(*ret), ret, sizeof(*ret));
        r = read_exactly(f, f->segments + i * sizeof(p), &p, sizeof(p));
        if (r == 0)
                *ret = (Elf64_Phdr){
                        .p_type = p.p_type, .p_offset = p.p_offset, .p_filesz = p.p_filesz, .p_align = p.p_align};
        return r;
}

static size_t pad(size_t size, size_t align)
{
        return (size + align - 1) & ~(align - 1);
}

/* Notes are name and description, each padded; the build id's are "GNU" and the id. */
static void find_build_id(const uint8_t *data, size_t size, size_t align, struct elf_info *ret)
{
        Elf64_Nhdr n; /* the same in both classes */

        for (size_t at = 0; size - at >= sizeof(n);) {
                size_t name, description;

                memcpy(&n, data + at, sizeof(n));
                at += sizeof(n);
                if (n.n_namesz > size || n.n_descsz > size)
                        return;
                name = at;
                description = pad(at + n.n_namesz, align);
                at = pad(description + n.n_descsz, align);
                if (description + n.n_descsz > size)
                        return;
                if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == sizeof(ELF_NOTE_GNU) &&
                    memcmp(data + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0 && n.n_descsz > 0 &&
                    n.n_descsz <= ELF_BUILD_ID_MAX) {
                        memcpy(ret->build_id, data + description, n.n_descsz);
                        ret->build_id_size = n.n_descsz;
                        return;
                }
                if (at > size)
                        return;
        }
}

static int read_notes(const struct elf_file *f, const Elf64_Phdr *p, struct elf_info *ret)
{
        uint8_t data[NOTE_BYTES_MAX];
        size_t size = p->p_filesz < sizeof(data) ? (size_t)p->p_filesz : sizeof(data);
        int r;

        r = read_exactly(f, p->p_offset, data, size);
        if (r == 0)
                find_build_id(data, size, p->p_align == 8 ? 8 : 4, ret);
        return r;
}

int elf_read(int fd, uint64_t base, struct elf_info *ret)
{
        struct elf_file f = {.fd = fd, .base = base};
        struct elf_info info = {};
        unsigned notes = 0;
        Elf64_Phdr p;
        int r;

        r = read_head(&f);
        for (size_t i = 0; r == 0 && i < f.n_segments; i++) {
                r = read_segment(&f, i, &p);
                if (r < 0)
                        break;
                if (p.p_type == PT_LOAD && info.loaded_bytes + p.p_filesz >= info.loaded_bytes)
                        info.loaded_bytes += p.p_filesz;
                if (p.p_type == PT_NOTE && info.build_id_size == 0 && notes++ < NOTES_MAX)
                        r = read_notes(&f, &p, &info);
        }
        if (r < 0)
                return r;
        *ret = info;
        return 0;
}
