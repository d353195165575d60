import { expect, it, vi } from "vitest";
import { z } from "zod";
import { defineJob, queueNames } from "../../../src/jobs/define-job.js";
import { startWorkers } from "../../../src/workers/start-workers.js";
import { startTestApp } from "../../support/app.js";
import { startOwnPostgres } from "../../support/own-postgres.js";

const JOBS = 3;
const AWAY_MS = 3_000;

vi.setConfig({ testTimeout: 120_000 });

it("F11: jobs with a single attempt survive a database that goes away together with their queue", async () => {
  const postgres = await startOwnPostgres();
  const app = await startTestApp({ databaseUrl: postgres.url });
  const givenUp: string[] = [];
  let started = 0;
  let away = false;
  const job = defineJob({
    kind: "test.lives-through-an-outage",
    queue: "maintenance",
    payload: z.strictObject({ id: z.string() }),
    attempts: 1,
    async run(_payload, { db, signal }) {
      started++;
      // Works with the database until the outage has come and gone.
      do {
        signal.throwIfAborted();
        await db.selectFrom("accounts").select("account_id").execute();
      } while (!away);
      return {};
    },
    onGivenUp: async ({ id }, error) => void givenUp.push(`${id}: ${error.message}`),
  });
  const workers = await startWorkers(app.context, { definitions: [job] });
  try {
    const ids = Array.from({ length: JOBS }, (_, index) => `job-${index}`);
    for (const id of ids) await app.context.queues.enqueue(job, { id }, { id });
    await expect.poll(() => started).toBe(JOBS);
    const back = postgres.restart(AWAY_MS);
    await back;
    away = true;
    const queue = app.context.queues.all()[queueNames.indexOf("maintenance")]!;
    const states = async () =>
      Promise.all(ids.map((id) => app.context.queues.stateOf("maintenance", id).catch(() => "away")));
    await expect.poll(states, { timeout: 60_000 }).toEqual(ids.map(() => "completed"));
    const made = await Promise.all(ids.map(async (id) => (await queue.getJob(id))!.attemptsMade));
    // One: the attempt that succeeded.
    expect(made).toEqual(ids.map(() => 1));
    expect(givenUp).toEqual([]);
  } finally {
    await workers.drain(1_000);
    await app.close();
    await postgres.close();
  }
});
