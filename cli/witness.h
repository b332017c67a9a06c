/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A witness of a collector's log: keeps the last checkpoint that it cosigned in a file, and cosigns another only when
 * the log has grown from it. */
#include "cli/cli.h"
#include "cli/fetch.h"
#include "record/note.h"

#define WITNESS_ERROR_MAX 512

struct witness {
        struct fetch fetch; /* of the log */
        const char *state; /* file: the note that was cosigned last */
        bool submit; /* hand the cosignature to the collector */
        struct note_key log, key;
        uint8_t secret[NOTE_SECRET_SIZE];
        char error[WITNESS_ERROR_MAX]; /* one sentence on what the last round met */
        struct checkpoint last; /* after a round */
};

/* One round. 0 cosigned, or nothing new; -EILSEQ the log was forked: both notes are kept in STATE.fork, and the witness
 * cosigns nothing until somebody removes that file; others: the log could not be looked at. */
int witness_round(struct witness *w, uint64_t now_s);
