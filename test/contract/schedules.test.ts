import { expect, it } from "vitest";
import { z } from "zod";
import { openContext } from "../../src/context.js";
import { defineJob } from "../../src/jobs/define-job.js";
import { createTicker } from "../../src/workers/ticker.js";
import { silentLog } from "../support/postgres.js";
import { contract } from "./contract.js";

const at = (time: string) => new Date(`2026-03-04T${time}Z`);
const jobOf = (kind: string) =>
  defineJob({
    kind,
    queue: "maintenance",
    payload: z.strictObject({}),
    schedule: { cron: "*/10 * * * * *", payload: {} },
    run: async () => ({}),
  });

contract("a schedule", ({ app, enqueue, start, queue, stateOf, idle, away, back }) => {
  const waiting = () => queue().getWaitingCount();

  it("fires once, however many schedulers there are, and of the missed fires the last", async () => {
    const job = jobOf("test.shared");
    const other = await openContext(app().context.config, { process: "scheduler", log: silentLog });
    const tickers = [enqueue, other.queues.enqueue].map((each) => createTicker([job], each, silentLog));
    const tick = (time: string) => Promise.all(tickers.map((ticker) => ticker.tick(at(time))));
    await tick("10:00:01");
    await tick("10:00:09");
    expect(await waiting()).toBe(1);
    await tick("10:00:10");
    expect(await waiting()).toBe(2);
    await tick("10:30:00");
    expect(await waiting()).toBe(3);
    expect(await stateOf(`test.shared-at-${at("10:30:00").getTime()}`)).toBe("waiting");
    const { ends } = await start([job]);
    await idle();
    // A scheduler that starts again asks for the fire that is done already.
    await createTicker([job], other.queues.enqueue, silentLog).tick(at("10:30:05"));
    await other[Symbol.asyncDispose]();
    expect(await waiting()).toBe(0);
    expect(ends).toEqual(["done", "done", "done"]);
  });

  it("whose fire met a queue that was away is added by the next tick", async () => {
    const ticker = createTicker([jobOf("test.missed")], enqueue, silentLog);
    const id = `test.missed-at-${at("10:00:00").getTime()}`;
    await away();
    await ticker.tick(at("10:00:01"));
    await back();
    expect(await stateOf(id)).toBe("unknown");
    await ticker.tick(at("10:00:03"));
    expect(await stateOf(id)).toBe("waiting");
  });
});
