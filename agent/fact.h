/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What a sensor found, in the agent's own terms: watch/ produces facts, classify/ completes
 * them, enforce/ and report/ act on them. Plain value. */
#include <stdint.h>
#include "record/record.h"

#define FACT_PATH_MAX 4096

struct fact_flow {
        uint8_t family; /* AF_INET, AF_INET6; 0 none */
        uint8_t protocol;
        uint16_t local_port;
        uint16_t remote_port;
        uint8_t local[16];
        uint8_t remote[16];
        uint64_t cookie; /* socket cookie, 0 unknown */
        uint64_t netns; /* network namespace cookie */
        bool is_connected; /* the socket has this peer only */
        bool is_mptcp; /* and the application holds another one, of which it is a part */
        uint32_t tcp_local, tcp_remote; /* of a dropped query over TCP: which byte is next on each side */
};

struct fact {
        enum layer layer;
        enum tier tier;
        enum outcome outcome;
        uint16_t channel; /* 0: unknown, to be classified (exec only) */
        uint32_t entry; /* of the rule set `generation` */
        uint32_t generation;
        uint32_t uid;
        uint32_t tgid;
        uint64_t boottime_ns;
        char comm[17];
        char path[FACT_PATH_MAX]; /* of the program, "" unknown */
        struct fact_flow flow;
        /* identity of the executable (exec), as the kernel side makes it */
        uint64_t exe_dev;
        uint64_t exe_ino;
        uint64_t exe_ctime_ns;
        bool exe_may_differ; /* another content may have the same identity */
};
