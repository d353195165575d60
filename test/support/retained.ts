import { expect } from "vitest";
import { defaultRetention } from "../../src/analytics/retention.js";
import type { Db } from "../../src/db/client.js";
import { type RetainOptions, retainAccount } from "../../src/db/retention/retain-account.js";

const DAY_MS = 24 * 3_600_000;

/** A moment of retention. */
export interface Moment {
  /** Where the floor of messages lies. */
  floor: string;
  /** After how many chunks it dies at first. */
  killedAfter: number | null;
  chunkRows: number;
  quartersDays: number;
}

/** Applies retention to its end, killed before where the moment says so: `whenKilled` looks at what is left. */
export async function retainToTheEnd(
  db: Db,
  accountId: string,
  { floor, killedAfter, chunkRows, quartersDays }: Moment,
  whenKilled: () => Promise<unknown>,
  more: Partial<RetainOptions> = {},
): Promise<void> {
  const once = (hasTime: () => boolean) =>
    retainAccount(db, accountId, {
      retention: { ...defaultRetention, events_days: 1, messages_days: 31, quarters_days: quartersDays },
      now: new Date(Date.parse(floor) + 31 * DAY_MS),
      signal: new AbortController().signal,
      hasTime,
      leaveMonthsToPartitions: false,
      chunkRows,
      ...more,
    });
  if (killedAfter !== null) {
    let left = killedAfter;
    const killed = once(() => {
      if (--left < 0) throw new Error("killed");
      return true;
    });
    await killed.catch((error: Error) => expect(error.message).toBe("killed"));
    // In step at any point between two chunks.
    await whenKilled();
  }
  expect(await once(() => true)).toMatchObject({ done: true });
}
