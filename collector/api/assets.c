/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The page: files that are part of the program. */
#include <string.h>
#include "collector/api/private.h"
#include "collector/web/assets.h"

static const struct web_asset *asset_find(const char *path)
{
        for (size_t i = 0; i < n_web_assets; i++)
                if (strcmp(web_assets[i].path, path) == 0)
                        return &web_assets[i];
        return NULL;
}

void page_asset(struct http_request *req)
{
        const char *known = req->field[HTTP_IF_NONE_MATCH];
        const struct web_asset *asset = asset_find(req->path);
        struct http_response response = {.status = 200};

        if (!asset) {
                reply_error(req, 404, "there is nothing at this address");
                return;
        }
        response.headers[0] = (struct http_header){"etag", asset->etag};
        response.headers[1] = (struct http_header){"cache-control", "no-cache"};
        if (known && strcmp(known, asset->etag) == 0) {
                response.status = 304;
        } else {
                response.type = asset->type;
                response.body = asset->data;
                response.size = asset->size;
        }
        http_respond(req, &response);
}
