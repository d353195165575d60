import { once } from "node:events";
import { expect, it } from "vitest";
import { MAX_STALLS } from "../../src/workers/start-workers.js";
import { type Contract, contract, gate, jobOf } from "./contract.js";

contract("a job whose worker dies", (on) => {
  it("is taken up by another, which costs it no attempt", async () => {
    let runs = 0;
    const job = jobOf(async (_payload, context) => ({ run: ++runs, last: context.job.isLastAttempt }), {
      attempts: 2,
    });
    const id = `${job.kind}-a`;
    await on.enqueue(job, { id: "a" }, { id });
    const dead = await on.startDead({ lockMs: 1_000 });
    expect(await dead.take()).toMatchObject({ id });
    const { ends } = await on.start([job]);
    await on.idle();
    expect([runs, ends]).toEqual([1, ["done"]]);
    expect(await on.queue().getJob(id)).toMatchObject({
      returnvalue: { run: 1, last: false },
      attemptsMade: 1,
      attemptsStarted: 2,
    });
  });

  it("survives as many deaths as are allowed, with all of its attempts", async () => {
    let runs = 0;
    const job = jobOf(async (_payload, context) => ({ run: ++runs, last: context.job.isLastAttempt }), {
      attempts: 2,
    });
    const id = `${job.kind}-a`;
    await on.enqueue(job, { id: "a" }, { id });
    await killWorkersOf(on, id, MAX_STALLS);
    const { ends } = await on.start([job]);
    await on.idle();
    expect([runs, ends]).toEqual([1, ["done"]]);
    expect(await on.queue().getJob(id)).toMatchObject({
      returnvalue: { run: 1, last: false },
      attemptsMade: 1,
      attemptsStarted: MAX_STALLS + 1,
    });
  });

  it("is given up with the next, once and without another start, and says so", async () => {
    let runs = 0;
    const givenUp: string[] = [];
    const told = gate();
    const job = jobOf(async () => ({ run: ++runs }), {
      onGivenUp: async ({ id }, error) => {
        givenUp.push(`${id}: ${error.message}`);
        told.open();
      },
    });
    const id = `${job.kind}-a`;
    await on.enqueue(job, { id: "a" }, { id });
    await killWorkersOf(on, id, MAX_STALLS + 1);
    const workers = [await on.start([job]), await on.start([job])];
    await told.opened;
    await on.idle();
    expect(await on.stateOf(id)).toBe("failed");
    expect([runs, ...workers.map(({ ends }) => ends)]).toEqual([0, [], []]);
    expect(givenUp).toEqual(["a: job stalled more than allowable limit"]);
  });
});

/** Lets so many workers die with the job, one after the other. */
async function killWorkersOf(on: Contract, id: string, deaths: number): Promise<void> {
  const dead = await on.startDead({ lockMs: 60 });
  await dead.watchForStalls();
  for (let death = 0; death < deaths; death++) {
    expect(await dead.take()).toMatchObject({ id });
    await expect.poll(() => on.stateOf(id), { interval: 10, timeout: 5_000 }).toBe("waiting");
  }
}

contract("a worker that is drained", ({ enqueue, start, queue, stateOf, idle }) => {
  /** Goes on until it is told to stop, as often as it is run; then ends. */
  const longJob = (handBacks: number, started: () => void) => {
    let runs = 0;
    return jobOf(
      async (_payload, { signal }) => {
        runs++;
        started();
        if (runs > handBacks) return { runs };
        await once(signal, "abort");
        throw signal.reason;
      },
      // With one attempt only, handing back would end the job if it spent one.
      { attempts: 1 },
    );
  };

  it("hands a long job back, and another finishes it", async () => {
    const started = gate();
    const job = longJob(1, started.open);
    const first = await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    await started.opened;
    const before = performance.now();
    await first.drain(50);
    expect(performance.now() - before).toBeLessThan(4_000);
    expect(first.ends).toEqual(["handed_back"]);
    const second = await start([job]);
    await idle();
    expect(second.ends).toEqual(["done"]);
    expect(await queue().getJob(`${job.kind}-a`)).toMatchObject({
      returnvalue: { runs: 2 },
      attemptsMade: 1,
      attemptsStarted: 2,
    });
  });

  it("says nothing against the job, however often it happens", async () => {
    const deploys = 10;
    let started = gate();
    const job = longJob(deploys, () => started.open());
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    for (let deploy = 1; deploy <= deploys; deploy++) {
      started = gate();
      const { drain } = await start([job]);
      await started.opened;
      await drain(0);
    }
    const { ends } = await start([job]);
    await idle();
    expect(ends).toEqual(["done"]);
    expect(await queue().getJob(`${job.kind}-a`)).toMatchObject({ returnvalue: { runs: deploys + 1 } });
  });

  it("lets a job end that does so within the grace, and takes no other", async () => {
    const [started, mayEnd] = [gate(), gate()];
    let runs = 0;
    const job = jobOf(async () => {
      runs++;
      started.open();
      await mayEnd.opened;
      return {};
    });
    const { ends, drain } = await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    await started.opened;
    const drained = drain(20_000);
    await enqueue(job, { id: "b" }, { id: `${job.kind}-b` });
    mayEnd.open();
    await drained;
    expect([runs, ends]).toEqual([1, ["done"]]);
    expect(await stateOf(`${job.kind}-b`)).toBe("waiting");
    await start([job]);
    await idle();
    expect(runs).toBe(2);
  });
});
