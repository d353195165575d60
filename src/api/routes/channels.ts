import { z } from "zod";
import type { Context } from "../../context.js";
import { isForeignKeyViolation } from "../../db/errors.js";
import { type ChannelRow, deleteChannel, listChannels, putChannel } from "../../db/queries/channels.js";
import { Conflict, NotFound } from "../../errors.js";
import { safeText } from "../../safe-text.js";
import { readJsonBody } from "../body.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { decodeCursor, pageParameters, toPage } from "../pagination.js";
import { pathId, type Route, route } from "../route.js";
import { accountIdText, scopeOf } from "./accounts.js";

const MAX_BODY_BYTES = 64 * 1024;

const channelBody = z.strictObject({
  account_id: accountIdText,
  name: safeText(200).nullable().optional(),
});

const listQuery = z.strictObject({ ...pageParameters, account_id: accountIdText.optional() });

export function channelRoutes(context: Context): Route[] {
  const { db } = context;
  const one = "/analytics/channels/:channel_id";
  return [
    route({
      method: "put",
      path: one,
      access: ["admin"],
      async handler(request, response) {
        const channelId = pathId(request, "channel_id");
        const body = parseInput(channelBody, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        requireAccount(request.identity, body.account_id);
        const channel = { channelId, accountId: body.account_id, name: body.name };
        const put = await putChannel(db, channel, scopeOf(request.identity)).catch((error: unknown) => {
          throw isForeignKeyViolation(error) ? accountNotFound() : error;
        });
        if (!put) throw new Conflict("channel_taken", "This channel belongs to another account.");
        response.status(put.created ? 201 : 200).json(presentChannel(put.row));
      },
    }),
    route({
      method: "get",
      path: "/analytics/channels",
      access: ["admin"],
      async handler(request, response) {
        const { limit, cursor, account_id: accountId } = readQuery(request, listQuery);
        if (accountId !== undefined) requireAccount(request.identity, accountId);
        const after = cursor === undefined ? undefined : decodeCursor(safeText(512), cursor);
        const scope = scopeOf(request.identity);
        const rows = await listChannels(db, { scope, accountId, after, limit: limit + 1 });
        response.json(toPage(rows, limit, presentChannel, (row) => row.channel_id));
      },
    }),
    route({
      method: "delete",
      path: one,
      access: ["admin"],
      async handler(request, response) {
        const found = await deleteChannel(db, pathId(request, "channel_id"), scopeOf(request.identity));
        if (!found) throw new NotFound("channel_not_found", "There is no such channel.");
        response.status(204).end();
      },
    }),
  ];
}

const presentChannel = (row: ChannelRow) => ({
  channel_id: row.channel_id,
  account_id: row.account_id,
  name: row.name,
  created_at: row.created_at.toISOString(),
});
