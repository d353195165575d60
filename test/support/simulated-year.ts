import { expect } from "vitest";
import { createDb, createPool, type Db } from "../../src/db/client.js";
import type { Schedule } from "../../src/db/queries/schedules.js";
import { fireDue } from "../../src/jobs/fire-schedules.js";
import type { TestDb } from "./postgres.js";
import { silentLog } from "./postgres.js";
import { endRuns, makeSchedule, previewOf, slotsOf } from "./schedules.js";

export const simulatedZones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"];

export interface Simulation {
  from: Date;
  to: Date;
  crons: readonly string[];
  seed: number;
}

/** Small and repeatable: the seed tells everything. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/**
 * Lets two schedulers go through simulated time. They look at every slot, both at once, each with a clock of its own that is
 * up to two seconds off, a little late now and then; now and then the connection of one is ended in the middle. Returns
 * after comparing what has fired with what the previews had said before.
 */
export async function simulate(test: TestDb, { from, to, crons, seed }: Simulation): Promise<number> {
  const random = randomOf(seed);
  await test.pool.query("truncate schedules, schedule_slots, runs");
  const schedules: Schedule[] = [];
  for (const time_zone of simulatedZones)
    for (const cron of crons) schedules.push(await makeSchedule(test, from, { cron, time_zone }));
  const expected = schedules.map((schedule) => previewOf(schedule, from, to));
  const instants = [...new Set(expected.flat().map(({ at }) => at))].sort((a, b) => a - b);
  const pools = ["scheduler 1", "scheduler 2"].map((name) =>
    createPool({ url: test.url, name, size: 2, statementTimeoutMs: 0 }, () => {}),
  );
  const schedulers = pools.map(createDb);
  const look = async (db: Db, at: number) => {
    const skewMs = (random() - 0.5) * 4_000;
    // A connection that was ended is an error of this look alone.
    await fireDue(db, new Date(at + skewMs), silentLog).catch(() => {});
  };
  try {
    for (const instant of instants) {
      const lateMs = random() < 0.2 ? random() * 540_000 : random() * 8_000;
      const looks = schedulers.map((db) => look(db, instant + lateMs));
      if (random() < 0.1)
        await test.pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where application_name = 'scheduler 2' and datname = current_database()`,
        );
      await Promise.all(looks);
      // Whoever was too early, or died, looks again before it is too late.
      await Promise.all(schedulers.map((db) => look(db, instant + lateMs + 10_000)));
      await endRuns(test);
    }
  } finally {
    await Promise.all(pools.map((pool) => pool.end()));
  }
  for (const [index, schedule] of schedules.entries()) {
    const slots = await slotsOf(test, schedule);
    const fired = slots.map((slot) => ({
      at: slot.fire_at.getTime(),
      from: Date.parse(slot.from!),
      to: Date.parse(slot.to!),
    }));
    const at = `${schedule.cron} ${schedule.time_zone}, seed ${seed}`;
    expect(fired, at).toEqual(expected[index]);
    for (const slot of slots) expect(slot, at).toMatchObject({ outcome: "queued", reason: null, runs: 1 });
    for (const [place, next] of fired.slice(1).entries()) expect(next.from, at).toBe(fired[place]!.to);
  }
  return expected.flat().length;
}
