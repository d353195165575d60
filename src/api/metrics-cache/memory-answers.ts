import { createHash } from "node:crypto";

/** The bytes of a JSON answer and their strong validator. */
export interface Answer {
  bytes: Buffer;
  etag: string;
}

/** Beside key and bytes: objects, list links, the validator. */
const ENTRY_BYTES = 400;

/** One answer may take this part of the memory at most. */
const LARGEST_SHARE = 1 / 8;

const DIGEST_LENGTH = 27;

/** The validator is made of the bytes: `as_of` differs between two computations of the same numbers. */
export const toAnswer = (bytes: Buffer): Answer => ({
  bytes,
  etag: `"${createHash("sha256").update(bytes).digest("base64url").slice(0, DIGEST_LENGTH)}"`,
});

export interface MemoryAnswers {
  get(key: string): Answer | undefined;
  set(key: string, answer: Answer, ttlMs: number): void;
  size(): { entries: number; bytes: number };
}

/**
 * Answers of one process, by the time of their last use; the oldest leave when there are more than `maxBytes`, or when they
 * are too old: a fold makes answers that nobody asks for again, and what is not needed is no reason to fill the memory.
 */
export function createMemoryAnswers(options: { maxBytes: number; nowMs: () => number }): MemoryAnswers {
  const entries = new Map<string, { answer: Answer; bytes: number; expiresAtMs: number }>();
  let bytes = 0;
  const remove = (key: string) => {
    const entry = entries.get(key);
    if (entry) bytes -= entry.bytes;
    entries.delete(key);
  };
  return {
    get(key) {
      const entry = entries.get(key);
      if (!entry) return undefined;
      entries.delete(key);
      if (entry.expiresAtMs <= options.nowMs()) {
        bytes -= entry.bytes;
        return undefined;
      }
      entries.set(key, entry);
      return entry.answer;
    },
    set(key, answer, ttlMs) {
      remove(key);
      const needed = answer.bytes.length + 2 * key.length + ENTRY_BYTES;
      if (needed > options.maxBytes * LARGEST_SHARE || ttlMs <= 0) return;
      const nowMs = options.nowMs();
      for (const [oldest, entry] of entries) {
        if (entry.expiresAtMs > nowMs) break;
        remove(oldest);
      }
      entries.set(key, { answer, bytes: needed, expiresAtMs: nowMs + ttlMs });
      bytes += needed;
      while (bytes > options.maxBytes) remove(entries.keys().next().value!);
    },
    size: () => ({ entries: entries.size, bytes }),
  };
}
