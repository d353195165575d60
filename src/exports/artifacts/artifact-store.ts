import type { Readable } from "node:stream";
import type { Measure } from "../measure.js";

/** An inclusive range of bytes, as in HTTP's `bytes=start-end`. */
export interface ByteRange {
  start: number;
  end: number;
}

/** Where finished files live. Keys are made by our code (`<uuid>/<n>`); a malformed one throws. */
export interface ArtifactStore {
  /**
   * Stores all of `source` under `key`, or nothing: before the promise resolves no reader sees the key, and a failed or
   * aborted write leaves nothing behind. Rejects with the source's error, the signal's reason, or the system's error (`code`
   * ENOSPC when the disk is full).
   */
  write(key: string, source: Readable | AsyncIterable<Buffer>, signal?: AbortSignal): Promise<Measure>;
  /** The bytes of a file, or undefined when there is none. Read the stream to its end or destroy it: it holds a file open. */
  open(key: string, range?: ByteRange): Promise<Readable | undefined>;
  /** Bytes of a file, or undefined when there is none. */
  size(key: string): Promise<number | undefined>;
  /** Removes a file; one that is not there is no error. */
  remove(key: string): Promise<void>;
  /**
   * Removes what nobody will come back for: files and half-written parts last changed more than `olderThanMs` before `now`
   * whose key `isLive` denies. Returns how many were removed.
   */
  sweep(isLive: (key: string) => Promise<boolean>, olderThanMs: number, now: Date): Promise<number>;
}

/** Half-written files end so, hence no key may. */
export const PART_SUFFIX = ".part";
const KEY_LENGTH = 300;
const SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._-]+$/;

/** True for what a store accepts as a key: relative segments of `[A-Za-z0-9._-]`, none of them `.` or `..`. */
export function isArtifactKey(key: string): boolean {
  return (
    key.length <= KEY_LENGTH &&
    !key.endsWith(PART_SUFFIX) &&
    key.split("/").every((part) => SEGMENT.test(part))
  );
}
