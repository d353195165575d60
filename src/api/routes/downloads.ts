import { timingSafeEqual } from "node:crypto";
import type { Response } from "express";
import type { Context } from "../../context.js";
import {
  type FollowedLink,
  findDownloadLink,
  hasDownloadsLeft,
  hashLinkSecret,
  recordUse,
  returnDownload,
  takeDownload,
} from "../../db/queries/download-links.js";
import type { Artifact } from "../../db/schema.js";
import { AppError, Gone, NotFound } from "../../errors.js";
import type { ByteRange } from "../../exports/artifacts/artifact-store.js";
import { DOWNLOADS_PATH } from "../../exports/artifacts/download-url.js";
import { isKnown, isStored, sendFile, wantedRange } from "../download.js";
import { clientAddress } from "../rate-limit/client-address.js";
import { type PublicRequest, pathId, type Route, route } from "../route.js";
import { requireFile } from "./runs.js";

/** A URL of the store itself is signed at the click, and is good for so long at most. */
const PRESIGNED_MS = 5 * 60_000;
const MAX_USER_AGENT = 300;
const TOKEN = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([A-Za-z0-9_-]{43})$/;

/** Follows a download link. Needs no key: the link is one. */
export const downloadRoutes = (context: Context): Route[] => [
  route({
    method: "get",
    path: `${DOWNLOADS_PATH}/:token`,
    access: "public",
    stream: true,
    async handler(request, response) {
      const link = await knownLink(context, pathId(request, "token"));
      const use: Use = { range: undefined, outcome: "internal_error" };
      try {
        await follow(context, link, request, response, use);
      } catch (error) {
        if (error instanceof AppError) use.outcome = error.code;
        throw error;
      } finally {
        await recordUse(context.db, link, {
          used_at: context.now(),
          client_address: clientAddress(request.socket),
          user_agent: request.get("user-agent")?.slice(0, MAX_USER_AGENT) ?? null,
          method: request.method,
          range_start: use.range?.start ?? null,
          range_end: use.range?.end ?? null,
          outcome: use.outcome,
        }).catch((error: unknown) =>
          request.log.warn("use of a download link not recorded", { linkId: link.link_id, error }),
        );
      }
    },
  }),
];

interface Use {
  range: ByteRange | undefined;
  outcome: string;
}

/** The link of a token; 404 for one that never was, without a hint at what is wrong with it. */
async function knownLink({ db }: Context, token: string): Promise<FollowedLink> {
  const [, linkId, secret] = TOKEN.exec(token) ?? [];
  const link = linkId === undefined ? undefined : await findDownloadLink(db, linkId);
  if (!link || !timingSafeEqual(hashLinkSecret(secret!), link.secret_hash))
    throw new NotFound("link_not_found", "There is no such link.");
  return link;
}

/**
 * Sends the file, or leads on to the store. A download is counted when its first byte was asked for and everything asked for
 * was sent: a HEAD, a file that is known already, the middle of a file and a transfer that broke off use up nothing.
 */
async function follow(
  context: Context,
  link: FollowedLink,
  request: PublicRequest,
  response: Response,
  use: Use,
): Promise<void> {
  const { db, artifacts } = context;
  const now = context.now();
  if (link.revoked_at) throw new Gone("link_revoked", "This link was revoked.");
  if (link.expires_at <= now)
    throw new Gone("link_expired", `This link expired at ${link.expires_at.toISOString()}.`);
  const artifact = requireFile({ kind: link.kind, status: "succeeded", file: link.artifact }, now);
  if (!hasDownloadsLeft(link, now)) throw usedUp();
  const looks = request.method === "HEAD" || isKnown(request, artifact);
  if (!looks) use.range = wantedRange(request, artifact);
  const counts = !looks && (use.range?.start ?? 0) === 0;
  if (counts && !(await takeDownload(db, link, now))) throw usedUp();
  try {
    const url = looks
      ? undefined
      : await storeUrl(context, artifact, link.expires_at.getTime() - now.getTime());
    if (url) response.redirect(302, url);
    use.outcome = url ? "redirected" : await sendFile(request, response, artifacts, artifact);
  } finally {
    if (counts && use.outcome !== "delivered" && use.outcome !== "redirected") await returnDownload(db, link);
  }
}

/** A URL of the store for a file that it has as a whole and gives out itself; good for no longer than the link. */
async function storeUrl(
  { artifacts }: Context,
  artifact: Artifact,
  linkMs: number,
): Promise<string | undefined> {
  const [segment, ...more] = artifact.segments;
  if (!segment || more.length > 0 || !("key" in segment)) return undefined;
  const label = { fileName: artifact.file_name, contentType: artifact.content_type };
  const url = await artifacts.presign(segment.key, label, Math.min(PRESIGNED_MS, linkMs));
  if (url && !(await isStored(artifacts, artifact)))
    throw new Gone("artifact_missing", "The file is no longer in the store; run it again.");
  return url;
}

const usedUp = () => new Gone("link_used_up", "This link was used as often as it may be.");
