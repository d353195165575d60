import { expect, it } from "vitest";
import { PermanentJobError } from "../../src/errors.js";
import { contract, gate, jobOf } from "./contract.js";

const dedupe = { dedupe: ({ id }: { id: string }) => id };

contract("work of one key", ({ enqueue, start, idle }) => {
  it("waits once, however often it is asked for, and beside that of other keys", async () => {
    const ran: string[] = [];
    const job = jobOf(async ({ id, note }) => ({ count: ran.push(id + note) }), dedupe);
    for (const note of ["1", "2", "3"]) await enqueue(job, { id: "a", note });
    await enqueue(job, { id: "b", note: "1" });
    await start([job]);
    await idle();
    expect(ran).toEqual(["a1", "b1"]);
  });

  it("follows the running job once more, with what was asked for last", async () => {
    const [started, mayEnd] = [gate(), gate()];
    const ran: string[] = [];
    const job = jobOf(async ({ note }) => {
      ran.push(note ?? "");
      started.open();
      await mayEnd.opened;
      return {};
    }, dedupe);
    await enqueue(job, { id: "a", note: "first" });
    await start([job]);
    await started.opened;
    for (const note of ["second", "third", "last"]) await enqueue(job, { id: "a", note });
    mayEnd.open();
    await idle();
    expect(ran).toEqual(["first", "last"]);
    await enqueue(job, { id: "a", note: "later" });
    await idle();
    expect(ran).toEqual(["first", "last", "later"]);
  });

  it("follows a job that failed for good just the same", async () => {
    const [started, mayEnd] = [gate(), gate()];
    const ran: string[] = [];
    const job = jobOf(async ({ note }) => {
      ran.push(note ?? "");
      started.open();
      await mayEnd.opened;
      throw new PermanentJobError("gone", "It is gone.");
    }, dedupe);
    await enqueue(job, { id: "a", note: "first" });
    const { ends } = await start([job]);
    await started.opened;
    for (const note of ["second", "last"]) await enqueue(job, { id: "a", note });
    mayEnd.open();
    await idle();
    await enqueue(job, { id: "a", note: "later" });
    await idle();
    expect(ran).toEqual(["first", "last", "later"]);
    expect(ends).toEqual(["given_up", "given_up", "given_up"]);
  });

  it("is added beside the waiting one where the caller says so", async () => {
    const ran: string[] = [];
    const job = jobOf(async ({ note }) => ({ count: ran.push(note ?? "") }), dedupe);
    await enqueue(job, { id: "a", note: "first" });
    await enqueue(job, { id: "a", note: "second" }, { dedupe: false });
    await start([job]);
    await idle();
    expect(ran).toEqual(["first", "second"]);
  });
});
