import { pipeline } from "node:stream/promises";
import type { Response } from "express";
import type { Artifact } from "../db/schema.js";
import { Gone, RangeNotSatisfiable } from "../errors.js";
import type { ArtifactStore, ByteRange } from "../exports/artifacts/artifact-store.js";
import { openSegments } from "../exports/artifacts/segments.js";
import { namesTag } from "./entity-tag.js";
import type { ApiRequest } from "./route.js";

/**
 * Sends a finished file: 200, or 206 for one byte range (RFC 9110), 304 for a known ETag, 416 for a range outside it.
 * `Repr-Digest` (RFC 9530) is of the whole file. Several ranges at once are answered with the whole file.
 */
export async function sendFile(
  request: ApiRequest,
  response: Response,
  store: ArtifactStore,
  artifact: Artifact,
): Promise<void> {
  const etag = `"${artifact.sha256}"`;
  response.set({
    etag,
    "accept-ranges": "bytes",
    "content-type": artifact.content_type,
    "content-disposition": `attachment; filename="${artifact.file_name}"`,
    "repr-digest": `sha-256=:${Buffer.from(artifact.sha256, "hex").toString("base64")}:`,
  });
  if (namesTag(request.get("if-none-match"), etag)) {
    response.status(304).end();
    return;
  }
  const condition = request.get("if-range");
  const wanted = condition === undefined || condition === etag ? request.get("range") : undefined;
  const range = wanted === undefined ? undefined : readRange(wanted, artifact.bytes);
  const file = await openSegments(store, artifact.segments, range);
  if (!file) throw new Gone("artifact_missing", "The file is no longer in the store; run it again.");
  if (range) {
    response.status(206).set("content-range", `bytes ${range.start}-${range.end}/${artifact.bytes}`);
    response.set("content-length", String(range.end - range.start + 1));
  } else {
    response.set("content-length", String(artifact.bytes));
  }
  if (request.method === "HEAD") {
    file.destroy();
    response.end();
    return;
  }
  // A reader that leaves is no error; a file that breaks off must not look like a whole one.
  await pipeline(file, response).catch((error: unknown) => {
    if (!request.abandoned.aborted) request.log.warn("download broken off", { error });
    response.destroy();
  });
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
