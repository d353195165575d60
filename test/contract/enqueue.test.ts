import { expect, it } from "vitest";
import { ZodError } from "zod";
import { Unavailable } from "../../src/errors.js";
import { contract, gate, jobOf } from "./contract.js";

const MAX_PAYLOAD_BYTES = 16_384;

contract("asking for work", ({ enqueue, start, queue, stateOf, idle, app, away, back }) => {
  /** What is in the queue, whatever its state. */
  const size = async () =>
    Object.values(await queue().getJobCounts()).reduce((sum: number, count) => sum + Number(count), 0);

  it("adds a job of one id once, as long as the queue knows it", async () => {
    const ran: string[] = [];
    const job = jobOf(async ({ id }) => ({ count: ran.push(id) }));
    const id = `${job.kind}-a`;
    for (let time = 0; time < 2; time++) await enqueue(job, { id: "a" }, { id });
    expect(await stateOf(id)).toBe("waiting");
    const { ends } = await start([job]);
    await idle();
    await enqueue(job, { id: "a" }, { id });
    await idle();
    expect([ran, ends]).toEqual([["a"], ["done"]]);
    expect(await stateOf(id)).toBe("completed");
    expect(await stateOf("never-added")).toBe("unknown");
  });

  it("holds a delayed job back until it is due", async () => {
    const late: number[] = [];
    const job = jobOf(async (_payload, context) => {
      late.push(Date.now() - context.job.addedAt.getTime());
      return {};
    });
    await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a`, delayMs: 400 });
    expect(await stateOf(`${job.kind}-a`)).toBe("delayed");
    await idle();
    expect(late).toEqual([expect.any(Number)]);
    expect(late[0]).toBeGreaterThanOrEqual(400);
  });

  it("takes a job of low priority after everything else, however late that came", async () => {
    const ran: string[] = [];
    const job = jobOf(async ({ id }) => ({ count: ran.push(id) }));
    await enqueue(job, { id: "help" }, { id: `${job.kind}-help`, isLowPriority: true });
    expect(await stateOf(`${job.kind}-help`)).toBe("waiting");
    for (const id of ["first", "second"]) await enqueue(job, { id });
    await start([job]);
    await idle();
    expect(ran).toEqual(["first", "second", "help"]);
  });

  it("refuses a payload that its schema does not know, and adds nothing", async () => {
    const job = jobOf(async () => ({}));
    const before = await size();
    for (const payload of [{}, { id: 1 }, { id: "a", more: true }])
      await expect(enqueue(job, payload as never)).rejects.toBeInstanceOf(ZodError);
    expect(await size()).toBe(before);
  });

  it("refuses a payload that is too large as what it is, not as a queue that is away", async () => {
    const ran: number[] = [];
    const job = jobOf(async ({ id }) => ({ count: ran.push(id.length) }));
    const room = MAX_PAYLOAD_BYTES - JSON.stringify({ id: "" }).length;
    await start([job]);
    const refused = await enqueue(job, { id: "x".repeat(room + 1) }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RangeError);
    await enqueue(job, { id: "x".repeat(room) });
    await idle();
    expect(ran).toEqual([room]);
  });

  it("takes out a job that waits and leaves one that runs alone", async () => {
    const { queues } = app().context;
    const [started, mayEnd] = [gate(), gate()];
    const ran: string[] = [];
    const job = jobOf(async ({ id }) => {
      ran.push(id);
      started.open();
      await mayEnd.opened;
      return {};
    });
    await start([job]);
    await enqueue(job, { id: "runs" }, { id: `${job.kind}-runs` });
    await started.opened;
    await enqueue(job, { id: "waits" }, { id: `${job.kind}-waits` });
    for (const id of ["runs", "waits", "never"]) await queues.remove("maintenance", `${job.kind}-${id}`);
    expect(await stateOf(`${job.kind}-runs`)).toBe("active");
    expect(await stateOf(`${job.kind}-waits`)).toBe("unknown");
    mayEnd.open();
    await idle();
    expect(ran).toEqual(["runs"]);
  });

  it("counts the jobs of every queue by the same names", async () => {
    const counts = await app().context.queues.counts();
    expect(Object.keys(counts)).toEqual([
      "aggregation",
      "reports",
      "exports",
      "imports",
      "delivery",
      "maintenance",
    ]);
    for (const each of Object.values(counts))
      expect(Object.keys(each).sort()).toEqual([
        "active",
        "completed",
        "delayed",
        "failed",
        "prioritized",
        "waiting",
        "waiting-children",
      ]);
  });

  it("says soon that the queue is away, and works again when it is back", async () => {
    const job = jobOf(async () => ({}));
    await away();
    const askedAt = performance.now();
    const refused = await enqueue(job, { id: "a" }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Unavailable);
    expect(refused).toMatchObject({ code: "queue_unavailable", status: 503 });
    expect(performance.now() - askedAt).toBeLessThan(2_000);
    await back();
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    expect(await stateOf(`${job.kind}-a`)).toBe("waiting");
  });
});
