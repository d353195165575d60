import type { Response } from "express";
import { TooManyRequests, Unavailable } from "../../errors.js";

/** When it may be worth trying again; nobody knows when a stream ends. */
const RETRY_AFTER = { headers: { "retry-after": "5" } };

/** Counts open streams of a process. Who is admitted counts until the response closes. */
export function createAdmission(limits: { maxStreams: number; maxStreamsPerKey: number }): {
  /** Throws `Unavailable` or `TooManyRequests`. */
  admit(keyId: string, response: Response): void;
  open(): number;
} {
  const byKey = new Map<string, number>();
  let open = 0;
  return {
    admit(keyId, response) {
      const own = byKey.get(keyId) ?? 0;
      if (open >= limits.maxStreams)
        throw new Unavailable(
          "too_many_streams",
          `At most ${limits.maxStreams} streams are open at a time.`,
          RETRY_AFTER,
        );
      if (own >= limits.maxStreamsPerKey)
        throw new TooManyRequests(
          "too_many_streams_of_key",
          `One key has at most ${limits.maxStreamsPerKey} streams open at a time.`,
          RETRY_AFTER,
        );
      open++;
      byKey.set(keyId, own + 1);
      response.once("close", () => {
        open--;
        const left = byKey.get(keyId)! - 1;
        if (left > 0) byKey.set(keyId, left);
        else byKey.delete(keyId);
      });
    },
    open: () => open,
  };
}
