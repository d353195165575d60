import type { Readable } from "node:stream";
import type { Measure } from "../measure.js";

/** An inclusive range of bytes, as in HTTP's `bytes=start-end`. */
export interface ByteRange {
  start: number;
  end: number;
}

/** What a file is called and what it is, for whoever gets it without us in between. */
export interface FileLabel {
  fileName: string;
  contentType: string;
}

/** Of the keys that are asked about, those whose files somebody still needs. */
export type LiveAmong = (keys: readonly string[]) => Promise<ReadonlySet<string>>;

/** Where finished files live. Keys come from `newKey`; a malformed one throws. */
export interface ArtifactStore {
  /**
   * The key for a file that is yet to be written, of a name that our code made (`<uuid>/<n>`). The key says whether the
   * file is encrypted, and so, wherever it is kept, what the file has to be.
   */
  newKey(name: string): string;
  /**
   * Stores all of `source` under `key`, or nothing: before the promise resolves no reader sees the key, and a failed or
   * aborted write leaves nothing behind. Rejects with the source's error, the signal's reason, or the system's error (`code`
   * ENOSPC when the disk is full, `Unavailable` when the store is away).
   */
  write(key: string, source: Source, signal?: AbortSignal): Promise<Measure>;
  /** The bytes of a file, or undefined when there is none. Read the stream to its end or destroy it: it holds a file open. */
  open(key: string, range?: ByteRange): Promise<Readable | undefined>;
  /** Bytes of a file, or undefined when there is none. */
  size(key: string): Promise<number | undefined>;
  /** Removes a file; one that is not there is no error. */
  remove(key: string): Promise<void>;
  /**
   * A URL that gives out the file to whoever has it, for so long at most; undefined where the file can only be had
   * through this service.
   */
  presign(key: string, label: FileLabel, forMs: number): Promise<string | undefined>;
  /**
   * Removes what nobody will come back for: of the keys that begin with `prefix` (which has no `/`), files and half-written
   * parts last changed before `before` whose key is not live. Returns how many were removed.
   */
  sweep(prefix: string, liveAmong: LiveAmong, before: Date): Promise<number>;
}

export type Source = Readable | AsyncIterable<Buffer>;

/** A sweep asks about so many keys at once. */
export const SWEEP_BATCH = 1_000;

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

/** For whatever a malformed key would otherwise become. */
export function requireArtifactKey(key: string): void {
  if (!isArtifactKey(key)) throw new Error("malformed artifact key");
}
