/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Scope-bound ownership. An owning local carries one of these attributes, starts
 * NULL or -1, and leaves its scope through TAKE_PTR or TAKE_FD. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Defines name##p(T **) for a `T *` destructor that accepts NULL. */
#define DEFINE_CLEANUP(T, name)                                                                                      \
        static inline void name##p(T **p)                                                                            \
        {                                                                                                            \
                if (*p)                                                                                              \
                        name(*p);                                                                                    \
        }

static inline void freep(void *p)
{
        free(*(void **)p);
}

static inline void fd_closep(const int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static inline void file_closep(FILE **f)
{
        if (*f)
                fclose(*f);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_fd_   _cleanup_(fd_closep)
#define _cleanup_file_ _cleanup_(file_closep)

#define TAKE_PTR(p)                                                                                                  \
        ({                                                                                                           \
                __typeof__(p) _t = (p);                                                                              \
                (p) = NULL;                                                                                          \
                _t;                                                                                                  \
        })

#define TAKE_FD(fd)                                                                                                  \
        ({                                                                                                           \
                int _t = (fd);                                                                                       \
                (fd) = -1;                                                                                           \
                _t;                                                                                                  \
        })

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))

/* Closes *fd if open and sets it to -1. */
static inline void fd_close(int *fd)
{
        fd_closep(fd);
        *fd = -1;
}
