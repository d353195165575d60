import { once } from "node:events";
import { pipeline, Readable, type Transform } from "node:stream";
import { buffer } from "node:stream/consumers";
import { tally } from "../measure.js";
import type { ArtifactStore, ByteRange } from "./artifact-store.js";
import type { KeyRing } from "./key-ring.js";
import { opened, seal, wholeFile } from "./seal-stream.js";
import { HEADER_BYTES, newHeader, plainBytes, readHeader, windowOf } from "./sealed-file.js";

/**
 * Keys of encrypted files end so. The key is kept in the database: whoever can write to the storage alone cannot pass off
 * a file that is not encrypted as one that is, and what was stored before there were keys stays readable.
 */
const SEALED_SUFFIX = ".sealed";
const isSealed = (key: string) => key.endsWith(SEALED_SUFFIX);

/**
 * Encrypts what `inner` stores, as soon as the ring has a key. Sizes, ranges, measures and hashes are those of the content;
 * a range reads the segments that hold it and no others.
 */
export function encryptedStore(inner: ArtifactStore, ring: KeyRing): ArtifactStore {
  return {
    newKey: (name) => inner.newKey(name) + (ring.newest === undefined ? "" : SEALED_SUFFIX),

    async write(key, source, signal) {
      if (!isSealed(key)) return inner.write(key, source, signal);
      const content = tally();
      try {
        await inner.write(key, seal(source, newHeader(ring, key), content.add), signal);
        return content.result();
      } catch (error) {
        if (source instanceof Readable) source.destroy();
        throw error;
      }
    },

    async open(key, range) {
      if (!isSealed(key)) return inner.open(key, range);
      return range ? openRange(inner, ring, key, range) : openWhole(inner, ring, key);
    },

    async size(key) {
      const stored = await inner.size(key);
      return stored === undefined || !isSealed(key) ? stored : plainBytes(stored);
    },

    remove: inner.remove,

    presign: async (key, label, forMs) => (isSealed(key) ? undefined : inner.presign(key, label, forMs)),

    sweep: inner.sweep,
  };
}

async function openWhole(inner: ArtifactStore, ring: KeyRing, key: string): Promise<Readable | undefined> {
  const stored = await inner.open(key);
  return stored && through(stored, opened({ unlock: (header) => readHeader(header, ring, key) }, wholeFile));
}

async function openRange(
  inner: ArtifactStore,
  ring: KeyRing,
  key: string,
  range: ByteRange,
): Promise<Readable | undefined> {
  const [bytes, start] = await Promise.all([
    inner.size(key),
    inner.open(key, { start: 0, end: HEADER_BYTES - 1 }),
  ]);
  if (bytes === undefined || start === undefined) {
    start?.destroy();
    return undefined;
  }
  const sealing = readHeader(await buffer(start), ring, key);
  const plain = plainBytes(bytes);
  if (range.start >= plain || range.start > range.end) return Readable.from([]);
  const window = windowOf({ start: range.start, end: Math.min(range.end, plain - 1) }, plain);
  const stored = await inner.open(key, window.stored);
  return stored && through(stored, opened({ sealing }, window));
}

/**
 * Resolves once the first of it has proved to be what was written, so that a file which is not can still be answered with an
 * error. Either stream ends the other; whoever reads is told of every error.
 */
async function through(stored: Readable, transform: Transform): Promise<Readable> {
  pipeline(stored, transform, () => {});
  await once(transform, "readable");
  return transform;
}
