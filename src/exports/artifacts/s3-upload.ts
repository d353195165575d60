import { createHash } from "node:crypto";
import { isNamed, type S3 } from "./s3-client.js";

const MIB = 1024 * 1024;
const FIRST_PARTS = 1_000;
/** Parts that are on their way while the next one fills. */
const IN_FLIGHT = 2;

/**
 * Bytes of a part, of which a file has 10,000 at most: 8 MiB up to 8 GB, then growing evenly, so that 5 TiB fit and no part
 * has more than 1.3 GB.
 */
export const partBytes = (number: number): number => 8 * MIB + Math.max(number - FIRST_PARTS, 0) * 140 * 1024;

interface Part {
  number: number;
  etag: string;
  md5: Buffer;
}

export interface Upload {
  /** Sends everything, in parts; what fits into the first one goes in one request. Not there before this resolves. */
  send(chunks: AsyncIterable<Buffer>): Promise<void>;
  /** After a failure or a cancel: ends what is on its way and takes back what was sent. Never throws. */
  abandon(): Promise<void>;
}

/**
 * One file on its way into the store, in constant memory. Every part carries its MD5, which the store checks, and what the
 * store says it has is checked against ours, in parts and as a whole, before it counts as stored.
 */
export function startUpload(s3: S3, key: string, signal: AbortSignal | undefined): Upload {
  const { limits } = s3;
  const object = { Bucket: s3.settings.bucket, Key: s3.settings.prefix + key };
  const ended = new AbortController();
  const abort = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
  const parts: Part[] = [];
  const flying = new Set<Promise<void>>();
  /** Buffers of parts that have arrived, for the next ones. */
  const spare: Buffer[] = [];
  let failure: { error: unknown } | undefined;
  let uploadId: string | undefined;
  let maybeStored = false;
  let sent = 0;

  const newBuffer = () => {
    const bytes = partBytes(sent + 1);
    const reused = spare.pop();
    return reused?.length === bytes ? reused : Buffer.allocUnsafe(bytes);
  };

  async function begin(): Promise<string> {
    const begun = await s3.call(
      ({ sdk, client }, options) => client.send(new sdk.CreateMultipartUploadCommand(object), options),
      { signal: abort },
    );
    if (!begun.UploadId) throw new Error("the store has begun an upload without an id");
    return begun.UploadId;
  }

  async function sendPart(number: number, body: Buffer): Promise<void> {
    const md5 = createHash("md5").update(body).digest();
    const answer = await s3.call(
      ({ sdk, client }, options) =>
        client.send(
          new sdk.UploadPartCommand({
            ...object,
            UploadId: uploadId,
            PartNumber: number,
            Body: body,
            ContentMD5: md5.toString("base64"),
          }),
          options,
        ),
      { signal: abort, bytes: body.length },
    );
    requireSame(answer, md5.toString("hex"));
    parts.push({ number, etag: answer.ETag!, md5 });
  }

  /** Puts a part on its way once there is room for it, and reports what became of earlier ones. */
  async function launch(buffer: Buffer, filled: number): Promise<void> {
    sent++;
    uploadId ??= await begin();
    while (flying.size >= IN_FLIGHT) await Promise.race(flying);
    if (failure) throw failure.error;
    const flight = sendPart(sent, buffer.subarray(0, filled))
      .then(() => void spare.push(buffer))
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => flying.delete(flight));
    flying.add(flight);
  }

  async function putWhole(body: Buffer): Promise<void> {
    const md5 = createHash("md5").update(body).digest();
    maybeStored = true;
    const answer = await s3.call(
      ({ sdk, client }, options) =>
        client.send(
          new sdk.PutObjectCommand({ ...object, Body: body, ContentMD5: md5.toString("base64") }),
          options,
        ),
      { signal: abort, bytes: body.length },
    );
    requireSame(answer, md5.toString("hex"));
  }

  async function complete(bytes: number): Promise<void> {
    parts.sort((a, b) => a.number - b.number);
    const md5OfAll = createHash("md5").update(Buffer.concat(parts.map(({ md5 }) => md5)));
    const expected = `${md5OfAll.digest("hex")}-${parts.length}`;
    maybeStored = true;
    try {
      const answer = await s3.call(
        ({ sdk, client }, options) =>
          client.send(
            new sdk.CompleteMultipartUploadCommand({
              ...object,
              UploadId: uploadId,
              MultipartUpload: {
                Parts: parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag })),
              },
            }),
            options,
          ),
        { signal: abort },
      );
      requireSame(answer, expected);
    } catch (error) {
      // An answer that was lost: the next attempt found the upload complete. What is there says whether it is ours.
      if (!isNamed(error, "NoSuchUpload")) throw error;
    }
    const stored = await s3.call(
      ({ sdk, client }, options) => client.send(new sdk.HeadObjectCommand(object), options),
      { signal: abort },
    );
    requireSame(stored, expected);
    if (stored.ContentLength !== bytes)
      throw new Error(`the store has ${stored.ContentLength} bytes of the ${bytes} that were sent`);
    uploadId = undefined;
  }

  return {
    async send(chunks) {
      let buffer = newBuffer();
      let filled = 0;
      let bytes = 0;
      for await (const chunk of chunks) {
        bytes += chunk.length;
        for (let taken = 0; taken < chunk.length; ) {
          const copied = chunk.copy(buffer, filled, taken);
          taken += copied;
          filled += copied;
          if (filled < buffer.length) continue;
          await launch(buffer, filled);
          buffer = newBuffer();
          filled = 0;
        }
      }
      if (sent === 0) return putWhole(buffer.subarray(0, filled));
      if (filled > 0) await launch(buffer, filled);
      await Promise.all(flying);
      if (failure) throw failure.error;
      return complete(bytes);
    },

    async abandon() {
      ended.abort(new Error("the upload was abandoned"));
      await Promise.all(flying);
      const cleanup = { withinMs: limits.cleanupMs };
      await Promise.allSettled([
        // Whatever cannot be reached now is found by the sweep.
        uploadId &&
          s3.call(
            ({ sdk, client }, options) =>
              client.send(new sdk.AbortMultipartUploadCommand({ ...object, UploadId: uploadId }), options),
            cleanup,
          ),
        maybeStored &&
          s3.call(
            ({ sdk, client }, options) => client.send(new sdk.DeleteObjectCommand(object), options),
            cleanup,
          ),
      ]);
    },
  };
}

interface Stored {
  ETag?: string | undefined;
  ServerSideEncryption?: string | undefined;
}

/** The ETag is the MD5 of what is stored, unless the store has encrypted it with a key of its own service. */
function requireSame({ ETag, ServerSideEncryption }: Stored, expected: string): void {
  if (!ETag) throw new Error("the store has not said what it stored");
  if (ServerSideEncryption?.startsWith("aws:")) return;
  if (ETag.replaceAll('"', "") !== expected)
    throw new Error("what the store has is not what was sent: its ETag is another");
}
