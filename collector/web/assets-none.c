/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A build without the page (-Dweb=false): the API alone, and one sentence that says so. */
#include "collector/web/assets.h"

static const unsigned char none[] = "This collector was built without its page. The API is under /api/v1.\n";

const struct web_asset web_assets[] = {
        {"/", "text/plain; charset=utf-8", "\"none\"", none, sizeof(none) - 1},
};
const size_t n_web_assets = 1;
