/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/term.h"

#include "base/cleanup.h"

static const char *const state_names[] = {
        [TERM_FUTURE] = "future",
        [TERM_IN_FORCE] = "in force",
        [TERM_ENDED] = "ended",
};
_Static_assert(ELEMENTSOF(state_names) == _TERM_STATE_MAX, "a state without a name");

const char *term_state_to_string(enum term_state s)
{
        return state_names[s];
}

static void spend(struct term *t, const struct term_clock *c)
{
        const uint64_t by_wall = c->now < t->until ? (uint64_t)(t->until - c->now) : 0;
        const uint64_t passed = t->seen_s && c->boottime_s > t->seen_s ? c->boottime_s - t->seen_s : 0;

        t->left_s = passed < t->left_s ? t->left_s - passed : 0;
        if (by_wall < t->left_s)
                t->left_s = by_wall;
        t->seen_s = c->boottime_s;
        if (t->left_s == 0)
                t->state = TERM_ENDED;
}

bool term_update(struct term *t, const struct term_clock *c)
{
        const enum term_state before = t->state;

        switch (t->state) {
        case TERM_FUTURE:
                if (c->now < t->from)
                        break;
                t->state = TERM_IN_FORCE;
                t->left_s = (uint64_t)(t->until - t->from);
                t->seen_s = 0;
                spend(t, c);
                break;
        case TERM_IN_FORCE:
                spend(t, c);
                break;
        case TERM_ENDED:
        case _TERM_STATE_MAX:
                break;
        }
        return t->state != before;
}

void term_end(struct term *t)
{
        t->state = TERM_ENDED;
        t->left_s = 0;
}
