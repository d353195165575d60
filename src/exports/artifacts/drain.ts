import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Measure, measured } from "../measure.js";
import type { Source } from "./artifact-store.js";

/**
 * Hands all of `source` to `save` and says what it was. Rejects with the signal's reason at once, with the source's error or
 * with what `save` threw; the source is destroyed then.
 */
export async function drain(
  source: Source,
  save: (chunks: AsyncIterable<Buffer>) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<Measure> {
  const measure = measured();
  let saveError: unknown;
  const saving = (chunks: AsyncIterable<Buffer>) =>
    save(chunks).catch((error: unknown) => {
      saveError = error;
      throw error;
    });
  try {
    signal?.throwIfAborted();
    await untilAborted(pipeline(source, measure, saving, signal ? { signal } : {}), signal);
    signal?.throwIfAborted();
    return measure.result();
  } catch (error) {
    if (source instanceof Readable) source.destroy();
    // The pipeline reports an abort, and what failed the saving too, as its own AbortError; the caller wants to know why.
    if (signal?.aborted) throw signal.reason;
    throw (error as NodeJS.ErrnoException).code === "ABORT_ERR" ? (saveError ?? error) : error;
  }
}

/** `work`, or the signal's reason at once: an iterable that never answers would hold up a pipeline even when aborted. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
  });
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
