import { pipeline } from "node:stream/promises";
import type { Response } from "express";
import type { Artifact } from "../db/schema.js";
import { Gone, RangeNotSatisfiable } from "../errors.js";
import type { ArtifactStore, ByteRange } from "../exports/artifacts/artifact-store.js";
import { openSegments, segmentKeys } from "../exports/artifacts/segments.js";
import { namesTag } from "./entity-tag.js";
import type { PublicRequest } from "./route.js";

/** What became of a request for a file; `looked`: its bytes were not asked for, or were known already. */
export type Sent = "delivered" | "looked" | "cut";

/**
 * Sends a finished file: 200, or 206 for one byte range (RFC 9110), 304 for a known ETag, 416 for a range outside it.
 * `Repr-Digest` (RFC 9530) is of the whole file. Several ranges at once are answered with the whole file.
 */
export async function sendFile(
  request: PublicRequest,
  response: Response,
  store: ArtifactStore,
  artifact: Artifact,
): Promise<Sent> {
  response.set({
    etag: etagOf(artifact),
    "accept-ranges": "bytes",
    "content-type": artifact.content_type,
    "content-disposition": `attachment; filename="${artifact.file_name}"`,
    "repr-digest": `sha-256=:${Buffer.from(artifact.sha256, "hex").toString("base64")}:`,
  });
  if (isKnown(request, artifact)) {
    response.status(304).end();
    return "looked";
  }
  const range = wantedRange(request, artifact);
  const isHead = request.method === "HEAD";
  const file = isHead ? undefined : await openSegments(store, artifact.segments, range);
  if (isHead ? !(await isStored(store, artifact)) : !file)
    throw new Gone("artifact_missing", "The file is no longer in the store; run it again.");
  if (range) {
    response.status(206).set("content-range", `bytes ${range.start}-${range.end}/${artifact.bytes}`);
    response.set("content-length", String(range.end - range.start + 1));
  } else {
    response.set("content-length", String(artifact.bytes));
  }
  if (!file) {
    response.end();
    return "looked";
  }
  try {
    await pipeline(file, response);
    return "delivered";
  } catch (error) {
    // A reader that leaves is no error; a file that breaks off must not look like a whole one.
    if (!request.abandoned.aborted) request.log.warn("download broken off", { error });
    response.destroy();
    return "cut";
  }
}

const etagOf = (artifact: Artifact) => `"${artifact.sha256}"`;

/** Whether the store has what the file begins with. */
export async function isStored(store: ArtifactStore, { segments }: Artifact): Promise<boolean> {
  const [first] = segmentKeys(segments);
  return first === undefined || (await store.size(first)) !== undefined;
}

/** Whether whoever asks has the file already. */
export const isKnown = (request: PublicRequest, artifact: Artifact): boolean =>
  namesTag(request.get("if-none-match"), etagOf(artifact));

/** The part of the file that is asked for; undefined for all of it. Throws 416. */
export function wantedRange(request: PublicRequest, artifact: Artifact): ByteRange | undefined {
  const condition = request.get("if-range");
  if (condition !== undefined && condition !== etagOf(artifact)) return undefined;
  const range = request.get("range");
  return range === undefined ? undefined : readRange(range, artifact.bytes);
}

/** One `bytes=` range in a file of `size` bytes; undefined for what is not understood, which means the whole file. */
export function readRange(header: string, size: number): ByteRange | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const first = match[1] === "" ? Math.max(size - Number(match[2]), 0) : Number(match[1]);
  const last = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[1] !== "" && match[2] !== "" && Number(match[2]) < Number(match[1])) return undefined;
  if (first >= size || first > last)
    throw new RangeNotSatisfiable("range_not_satisfiable", `The file has ${size} bytes.`, {
      headers: { "content-range": `bytes */${size}` },
    });
  return { start: first, end: last };
}
