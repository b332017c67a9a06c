/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Counts failures by a keyed hash of who failed, in a fixed table: an attacker with many
 * addresses cannot make it grow; two who share a slot share its count. Plain value. */
#include <stdbool.h>
#include <stdint.h>

#define LIMITER_SLOTS     4096
#define LIMITER_WINDOW_MS (15 * 60 * 1000)

struct limiter {
        uint8_t key[16];
        struct {
                uint64_t since_ms;
                unsigned failures;
        } slots[LIMITER_SLOTS];
};

void limiter_init(struct limiter *l);
/* Seconds to wait, 0: go on. */
unsigned limiter_wait(const struct limiter *l, const char *who, unsigned failures_max, uint64_t now_ms);
void limiter_failed(struct limiter *l, const char *who, uint64_t now_ms);
