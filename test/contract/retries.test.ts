import { expect, it } from "vitest";
import { PermanentJobError } from "../../src/errors.js";
import { contract, gate, jobOf } from "./contract.js";

const HOUR_MS = 3_600_000;
const JITTER = 0.3;

contract("a job that fails", ({ enqueue, start, queue, stateOf, idle }) => {
  it("is tried again, and given up once", async () => {
    const givenUp: string[] = [];
    const lastAttempts: boolean[] = [];
    const told = gate();
    const job = jobOf(
      async (_payload, context) => {
        lastAttempts.push(context.job.isLastAttempt);
        throw new Error("away");
      },
      {
        attempts: 3,
        onGivenUp: async ({ id }, error) => {
          givenUp.push(`${id} ${error.message}`);
          told.open();
        },
      },
    );
    const [first, second] = [await start([job]), await start([job])];
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    await told.opened;
    await idle();
    expect(lastAttempts).toEqual([false, false, true]);
    expect([...first.ends, ...second.ends]).toEqual(["failed", "failed", "failed"]);
    expect(givenUp).toEqual(["a away"]);
    expect(await queue().getJob(`${job.kind}-a`)).toMatchObject({ attemptsMade: 3, attemptsStarted: 3 });
  });

  it("for good is not tried again", async () => {
    const told = gate<string>();
    let runs = 0;
    const job = jobOf(
      () => {
        runs++;
        return Promise.reject(new PermanentJobError("gone", "It is gone."));
      },
      { onGivenUp: async (_payload, error) => told.open(error.message) },
    );
    const { ends } = await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    expect(await told.opened).toBe("It is gone.");
    await idle();
    expect([runs, ends]).toEqual([1, ["given_up"]]);
    expect(await stateOf(`${job.kind}-a`)).toBe("failed");
  });

  it("waits twice as long before each attempt, less a jitter that differs", async () => {
    const jobs = Array.from({ length: 10 }, (_, index) => String(index));
    const job = jobOf(() => Promise.reject(new Error("away")), {
      attempts: 4,
      backoff: { type: "exponential", delayMs: HOUR_MS },
    });
    const { ends } = await start([job]);
    for (const id of jobs) await enqueue(job, { id }, { id: `${job.kind}-${id}` });
    const delayed = async () => {
      const all = await Promise.all(jobs.map((id) => queue().getJob(`${job.kind}-${id}`)));
      return all.filter((each) => each !== undefined);
    };
    for (let attempt = 1; attempt < 4; attempt++) {
      await expect.poll(() => ends.length, { timeout: 10_000 }).toBe(attempt * jobs.length);
      await expect.poll(() => queue().getDelayedCount()).toBe(jobs.length);
      const waiting = await delayed();
      const longest = HOUR_MS * 2 ** (attempt - 1);
      for (const { delay } of waiting) {
        expect(delay).toBeGreaterThanOrEqual(longest * (1 - JITTER));
        expect(delay).toBeLessThanOrEqual(longest);
      }
      expect(new Set(waiting.map(({ delay }) => delay)).size).toBeGreaterThan(1);
      for (const each of waiting) await each.promote();
    }
    await idle();
    expect(ends).toEqual(Array.from({ length: 4 * jobs.length }, () => "failed"));
  });
});
