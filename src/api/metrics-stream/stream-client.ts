import type { Response } from "express";
import type { FoldVersion } from "../../db/queries/fold-versions.js";

/** What an answer is of. */
export interface Moment extends FoldVersion {
  /** Of answers that depend on the time. */
  minute?: number | undefined;
}

/** One open stream. It has no queue: what a slow reader misses is replaced by what is newest once it has caught up. */
export interface StreamClient {
  readonly keyId: string;
  readonly accountId: string;
  /** What its reader was last told. */
  seen: Moment;
  /** False, and nothing happens, while earlier bytes have not left this process. */
  write(bytes: Buffer | string): boolean;
  /** How long earlier bytes have been waiting, as far as was looked. */
  stalledMs(): number;
  /** Says why as a comment, unless the reader is stuck. */
  end(reason: string): void;
  drop(): void;
}

export function createStreamClient(
  response: Response,
  who: { keyId: string; accountId: string; seen: Moment },
): StreamClient {
  let stalledSinceMs: number | undefined;
  const isFree = () => response.writableLength === 0;
  return {
    ...who,
    write(bytes) {
      if (!isFree() || response.writableEnded) return false;
      response.write(bytes);
      return true;
    },
    stalledMs() {
      const nowMs = performance.now();
      stalledSinceMs = isFree() ? undefined : (stalledSinceMs ?? nowMs);
      return stalledSinceMs === undefined ? 0 : nowMs - stalledSinceMs;
    },
    end(reason) {
      if (!isFree()) response.destroy();
      else if (!response.writableEnded) response.end(`: ${reason}\n\n`);
    },
    drop: () => void response.destroy(),
  };
}

/** By it a client that comes back says what it was last told. */
export const eventId = ({ version, minute }: Moment): string =>
  minute === undefined ? version : `${version}.${minute}`;

/** An event of the stream. JSON has no line breaks of its own. */
export const toEvent = (moment: Moment, json: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`id: ${eventId(moment)}\nevent: metrics\ndata: `), json, Buffer.from("\n\n")]);

/** Whether the first says something that a reader of the second has not been told. A zone has no order. */
export function isNews(current: Moment, seen: Moment | undefined): boolean {
  if (!seen) return true;
  const [epoch, version] = current.version.split(".").map(Number);
  const [seenEpoch, seenVersion] = seen.version.split(".").map(Number);
  if (epoch !== seenEpoch) return epoch! > seenEpoch!;
  if (version !== seenVersion) return version! > seenVersion!;
  return current.timeZone !== seen.timeZone || (current.minute ?? 0) > (seen.minute ?? 0);
}
