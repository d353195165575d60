import { createHash } from "node:crypto";
import { Transform } from "node:stream";

/** What a stream of bytes was: its length and its SHA-256 in lower-case hex. */
export interface Measure {
  bytes: number;
  sha256: string;
}

/** Counts and hashes what it is shown. */
export function tally(): { add(chunk: Buffer): void; bytes(): number; result(): Measure } {
  const hash = createHash("sha256");
  let bytes = 0;
  let sha256: string | undefined;
  return {
    add(chunk) {
      bytes += chunk.length;
      hash.update(chunk);
    },
    bytes: () => bytes,
    result() {
      sha256 ??= hash.digest("hex");
      return { bytes, sha256 };
    },
  };
}

/** Passes bytes on, counting and hashing them. `result()` is for after the end; `bytes()` is the count so far. */
export function measured(): Transform & { bytes(): number; result(): Measure } {
  const counted = tally();
  const transform = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      counted.add(chunk);
      done(null, chunk);
    },
  });
  const result = (): Measure => {
    if (!transform.writableFinished)
      throw new Error("the stream has not ended: its measure is not known yet");
    return counted.result();
  };
  return Object.assign(transform, { bytes: counted.bytes, result });
}
