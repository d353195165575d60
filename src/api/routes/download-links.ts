import { z } from "zod";
import type { Context } from "../../context.js";
import {
  createDownloadLink,
  type DownloadLink,
  type DownloadUse,
  listDownloadLinks,
  listDownloadUses,
  revokeDownloadLink,
} from "../../db/queries/download-links.js";
import { findRun } from "../../db/queries/runs.js";
import type { RunKind } from "../../db/schema.js";
import { Gone, NotFound } from "../../errors.js";
import { downloadUrl } from "../../exports/artifacts/download-url.js";
import { readJsonBody } from "../body.js";
import { withIdempotency } from "../idempotency.js";
import { parseInput, readQuery } from "../input.js";
import { decodeCursor, newestFirst, pageParameters, toPage } from "../pagination.js";
import { type ApiRequest, pathUuid, type Route, route } from "../route.js";
import { requireFile, scopeOf } from "./runs.js";

const MAX_BODY_BYTES = 4 * 1024;
const DAY_SECONDS = 24 * 3_600;
const MAX_DAYS = 7;

const newLink = z.strictObject({
  expires_in_seconds: z
    .int()
    .min(1)
    .max(MAX_DAYS * DAY_SECONDS)
    .default(DAY_SECONDS),
  max_downloads: z.int().min(1).max(1_000_000).optional(),
});
const useCursor = z.int().min(0);

/** Links that give the file of a report or export to whoever has them: made, listed, looked into and revoked. */
export const downloadLinkRoutes = (context: Context): Route[] => [
  ...routesOf(context, "report", "/analytics/reports"),
  ...routesOf(context, "export", "/analytics/exports"),
];

function routesOf(context: Context, kind: RunKind, path: string): Route[] {
  const { db } = context;
  const links = `${path}/:id/links`;
  const find = async (request: ApiRequest) => {
    const run = await findRun(db, kind, pathUuid(request, "id"), scopeOf(request.identity));
    if (!run) throw new NotFound("not_found", `There is no ${kind} with this id.`);
    return run;
  };
  const keyOf = async (request: ApiRequest) => {
    const linkId = pathUuid(request, "link_id");
    const run = await find(request);
    return { accountId: run.account_id, runId: run.run_id, linkId };
  };
  return [
    route({
      method: "post",
      path: links,
      access: ["analyst"],
      async handler(request, response) {
        const run = await find(request);
        const body = parseInput(newLink, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        await withIdempotency(context, request, response, async () => {
          requireFile(run, context.now());
          const made = await createDownloadLink(db, {
            accountId: run.account_id,
            runId: run.run_id,
            requestedBy: request.identity.keyId,
            expiresAt: new Date(context.now().getTime() + body.expires_in_seconds * 1_000),
            maxDownloads: body.max_downloads,
          });
          // The sweep was faster.
          if (!made) throw new Gone("artifact_expired", `This file has expired; run the ${kind} again.`);
          const url = downloadUrl(context.config.publicUrl ?? originOf(request), made);
          return { status: 201, body: { ...presentLink(made.row), url }, secret: true };
        });
      },
    }),
    route({
      method: "get",
      path: links,
      access: ["analyst"],
      async handler(request, response) {
        const query = readQuery(request, z.strictObject(pageParameters));
        const run = await find(request);
        response.json(
          await newestFirst(
            query,
            (page) => listDownloadLinks(db, { accountId: run.account_id, runId: run.run_id }, page),
            presentLink,
            (row) => row.link_id,
          ),
        );
      },
    }),
    route({
      method: "delete",
      path: `${links}/:link_id`,
      access: ["analyst"],
      async handler(request, response) {
        const revoked = await revokeDownloadLink(db, await keyOf(request), context.now());
        if (!revoked) throw linkNotFound();
        response.status(204).end();
      },
    }),
    route({
      method: "get",
      path: `${links}/:link_id/uses`,
      access: ["analyst"],
      async handler(request, response) {
        const { limit, cursor } = readQuery(request, z.strictObject(pageParameters));
        const after = cursor === undefined ? 0 : decodeCursor(useCursor, cursor);
        const uses = await listDownloadUses(db, await keyOf(request), { after, limit: limit + 1 });
        if (!uses) throw linkNotFound();
        response.json(toPage(uses, limit, presentUse, (row) => row.use_id));
      },
    }),
  ];
}

const linkNotFound = () => new NotFound("link_not_found", "There is no such link.");

/** Where the caller has reached us; only who has a key can ask, and only they get the answer. */
const originOf = (request: ApiRequest) => `${request.protocol}://${request.get("host") ?? "localhost"}`;

const presentLink = (row: DownloadLink) => ({
  id: row.link_id,
  created_at: row.created_at.toISOString(),
  expires_at: row.expires_at.toISOString(),
  revoked_at: row.revoked_at?.toISOString() ?? null,
  max_downloads: row.max_downloads,
  downloads: row.downloads,
  last_download_at: row.last_download_at?.toISOString() ?? null,
  requested_by: row.requested_by,
});

const presentUse = (row: DownloadUse) => ({
  used_at: row.used_at.toISOString(),
  client_address: row.client_address,
  user_agent: row.user_agent,
  method: row.method,
  range: row.range_start === null ? null : [row.range_start, row.range_end],
  outcome: row.outcome,
});
