/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cleanup.h"
#include "record/record.h"

static const char *const layers[] = {
        [LAYER_EXEC] = "exec", [LAYER_DNS] = "dns",   [LAYER_CONNECT] = "connect", [LAYER_TLS] = "tls",
        [LAYER_QUIC] = "quic", [LAYER_HTTP] = "http", [LAYER_BROWSER] = "browser", [LAYER_AGENT] = "agent",
};
_Static_assert(ELEMENTSOF(layers) == _LAYER_MAX, "enum layer");

static const char *const tiers[] = {
        [TIER_PROGRAM] = "program",
        [TIER_NAME] = "name",
        [TIER_ADDRESS] = "address",
        [TIER_NONE] = "none",
};
_Static_assert(ELEMENTSOF(tiers) == _TIER_MAX, "enum tier");

static const char *const outcomes[] = {
        [OUTCOME_PASSED] = "passed",   [OUTCOME_DENIED] = "denied", [OUTCOME_KILLED] = "killed",
        [OUTCOME_DROPPED] = "dropped", [OUTCOME_RESET] = "reset",   [OUTCOME_ALLOWED] = "allowed",
};
_Static_assert(ELEMENTSOF(outcomes) == _OUTCOME_MAX, "enum outcome");

static const char *const coverage_events[] = {
        [COVERAGE_START] = "start",
        [COVERAGE_HEARTBEAT] = "heartbeat",
        [COVERAGE_POLICY] = "policy",
        [COVERAGE_REFUSED] = "refused",
        [COVERAGE_GAP] = "gap",
        [COVERAGE_STOP] = "stop",
        [COVERAGE_CLOCK] = "clock",
        [COVERAGE_EXEMPTION] = "exemption",
        [COVERAGE_BREAK_GLASS] = "break-glass",
        [COVERAGE_WENT_BACK] = "went-back",
        [COVERAGE_SLEEP] = "sleep",
};
_Static_assert(ELEMENTSOF(coverage_events) == _COVERAGE_EVENT_MAX, "enum coverage_event");

const char *layer_to_string(enum layer l)
{
        return layers[l];
}

const char *tier_to_string(enum tier t)
{
        return tiers[t];
}

const char *outcome_to_string(enum outcome o)
{
        return outcomes[o];
}

const char *coverage_event_to_string(enum coverage_event e)
{
        return coverage_events[e];
}
