/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One thread, one epoll. Sources are freed at the end of the turn in which they were closed,
 * so that an event already fetched never meets freed memory. `after` functions run once a turn,
 * in the order in which they were added: that is where the store commits for all requests of
 * the turn together. */
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_source;
typedef void (*loop_io_fn)(void *userdata, uint32_t events);
typedef void (*loop_fn)(void *userdata);

int loop_new(struct loop **ret);
/* Frees the sources that are left as well; accepts NULL. */
void loop_free(struct loop *l);

/* Takes the descriptor: it is closed with the source. Not on failure. */
int loop_add_io(struct loop *l, int fd, uint32_t events, loop_io_fn fn, void *userdata, struct loop_source **ret);
int loop_source_modify(struct loop_source *s, uint32_t events);
/* No callback afterwards. Accepts NULL. */
void loop_source_close(struct loop_source *s);

/* Every interval_ms, on CLOCK_MONOTONIC; turns missed are not caught up. */
int loop_add_timer(struct loop *l, uint64_t interval_ms, loop_fn fn, void *userdata);
/* Blocks the signals and calls fn when one of them arrives. */
int loop_add_signals(struct loop *l, const sigset_t *signals, loop_fn fn, void *userdata);
int loop_add_after(struct loop *l, loop_fn fn, void *userdata);

/* Until loop_stop(): 0, or what epoll_wait failed with. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* CLOCK_MONOTONIC at the start of this turn. */
uint64_t loop_now_ms(const struct loop *l);
