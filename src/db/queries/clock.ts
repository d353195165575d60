import { sql } from "kysely";
import type { Db } from "../client.js";

/** For what many processes must agree on: the clocks of some of them may be wrong. */
export async function databaseNow(db: Db): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(db);
  return rows[0]!.now;
}

/** How far this process's clock is ahead of the database's (negative: behind), and how sure that is. */
export interface ClockSkew {
  ms: number;
  /** Half of the round trip: the answer may have been made at any time of it. */
  uncertaintyMs: number;
}

/** Small beside a job's lock time, large beside what NTP leaves. */
export const MAX_SKEW_MS = 2_000;

/** After so many slow round trips the best of them has to do. */
const SAMPLES = 3;

/** Compares the clocks; asks again while the round trip is too slow to tell which side of the limit it is. */
export async function measureClockSkew(db: Db, now: () => Date): Promise<ClockSkew> {
  let best = await sample(db, now);
  for (let samples = 1; samples < SAMPLES && isUnclear(best); samples++) {
    const next = await sample(db, now);
    if (next.uncertaintyMs < best.uncertaintyMs) best = next;
  }
  return best;
}

/** Whether the clock is certainly off by more than the limit. */
export const isSkewed = ({ ms, uncertaintyMs }: ClockSkew): boolean =>
  Math.abs(ms) - uncertaintyMs > MAX_SKEW_MS;

/** As logs and diagnostics show it. */
export const skewSeconds = ({ ms }: ClockSkew): number => Math.round(ms) / 1000;

/**
 * Queues in Postgres remember when they last looked for abandoned jobs, by the clock of whoever looked. One that was
 * ahead leaves a time to come, and until then nobody would look again.
 */
export async function forgetFutureStalledChecks(db: Db): Promise<void> {
  await sql`
    delete from bullmq.meta where field = 'stalled-check'
      and value::float8 > extract(epoch from clock_timestamp()) * 1000 + ${MAX_SKEW_MS}::integer`.execute(db);
}

const isUnclear = ({ ms, uncertaintyMs }: ClockSkew) => Math.abs(Math.abs(ms) - MAX_SKEW_MS) <= uncertaintyMs;

async function sample(db: Db, now: () => Date): Promise<ClockSkew> {
  const askedAt = performance.now();
  const ours = now().getTime();
  const { rows } = await sql<{ ms: number }>`
    select extract(epoch from clock_timestamp())::float8 * 1000 as ms`.execute(db);
  const uncertaintyMs = (performance.now() - askedAt) / 2;
  return { ms: ours + uncertaintyMs - rows[0]!.ms, uncertaintyMs };
}
