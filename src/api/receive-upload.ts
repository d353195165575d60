import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { InvalidInput, TooLarge, Unavailable } from "../errors.js";
import type { ArtifactStore } from "../exports/artifacts/artifact-store.js";
import { rememberBodyHash } from "./body.js";
import { readChunks } from "./ingest/read-chunks.js";

const IDLE_MS = 30_000;

/**
 * Streams a body, inflated, into the store: memory is a few pieces of it. What breaks off, stalls, is empty or has more than
 * `maxBytes` leaves nothing behind. Its hash is the request's body hash from then on.
 */
export async function receiveUpload(
  request: IncomingMessage,
  store: ArtifactStore,
  key: string,
  { maxBytes }: { maxBytes: number },
): Promise<{ bytes: number; sha256: string }> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const through = new PassThrough();
  const stored = store.write(key, through);
  // Looked at below, or as soon as the stream takes no more.
  stored.catch(() => {});
  through.on("error", () => {});
  let received = 0;
  try {
    await readChunks(request, { idleMs: IDLE_MS }, (chunk) => {
      received += chunk.length;
      if (received > maxBytes) throw tooLarge(maxBytes);
      if (through.destroyed) return stored.then(() => {});
      if (!through.write(chunk)) return Promise.race([once(through, "drain"), stored]).then(() => {});
      return undefined;
    });
    if (received === 0) throw new InvalidInput("empty_body", "The body is the file; this one is empty.");
    through.end();
    const measure = await stored;
    rememberBodyHash(request, measure.sha256);
    return measure;
  } catch (error) {
    through.destroy(error as Error);
    await stored.then(() => store.remove(key)).catch(() => {});
    if ((error as NodeJS.ErrnoException).code === "ENOSPC")
      throw new Unavailable("disk_full", "The disk for files is full.", { cause: error });
    throw error;
  }
}

const tooLarge = (maxBytes: number) =>
  new TooLarge("body_too_large", `A file to import may have ${maxBytes} bytes (import_max_bytes), inflated.`);
