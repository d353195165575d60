import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import {
  type AdmissionRound,
  admitRuns,
  type Line,
  outlookOf,
  takeBack,
} from "../../src/db/queries/admission.js";
import { claimRun, insertRun, type RunKey, requestCancel, settleRun } from "../../src/db/queries/runs.js";
import { beatWorker, removeWorker } from "../../src/db/queries/workers.js";
import type { RunKind, RunPriority } from "../../src/db/schema.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
  await ensureAccounts(test.db, ["a", "b", "c"]);
});
afterAll(() => test.close());
beforeEach(() =>
  test.pool.query(`truncate runs, workers, queue_pauses; update run_lines set turn = 0, mean_ms = null;
                   update accounts set quotas = '{}'`),
);

const names = new Map<string, string>();
/** Runs that wait, in the order of the names: `b2` is the second of account b. */
async function ask(
  list: string,
  priority: RunPriority = "bulk",
  kind: RunKind = "export",
): Promise<RunKey[]> {
  const keys: RunKey[] = [];
  for (const name of list.split(" ")) {
    const accountId = name[0]!;
    const asked = { accountId, kind, priority, params: {}, requestedBy: "test", maxWaiting: 1_000 };
    const run = (await insertRun(test.db, asked))!;
    names.set(run.run_id, name);
    keys.push({ accountId, runId: run.run_id, generation: run.generation });
  }
  return keys;
}

const line = (places: number, kind: RunKind = "export"): Line => ({
  kind,
  queue: `${kind}s`,
  places: () => places,
});
const round: AdmissionRound = { accounts: "all", tookMs: [], maxRunning: 100, slotsWithoutWorkers: 1 };
/** Admits as many as fit, and says whom. */
async function admit(places: number, more: Partial<AdmissionRound> = {}, kind?: RunKind): Promise<string> {
  const keys = await admitRuns(test.db, line(places, kind), { ...round, ...more });
  return keys.map(({ runId }) => names.get(runId)).join(" ");
}
const quotas = (account: string, set: object) =>
  test.pool.query("update accounts set quotas = $2 where account_id = $1", [account, JSON.stringify(set)]);
/** Runs and ends what was admitted. */
async function work(key: RunKey): Promise<void> {
  const run = await claimRun(test.db, key, "test");
  await settleRun(test.db, { ...key, fence: run!.fence }, { status: "succeeded" });
}
const place = async (key: RunKey) => {
  const run = await test.db
    .selectFrom("runs")
    .selectAll()
    .where("run_id", "=", key.runId)
    .executeTakeFirstOrThrow();
  return outlookOf(test.db, run);
};

describe("the order of admission", () => {
  it("takes accounts in turn, however many runs one of them has waiting", async () => {
    await ask("a1 a2 a3 a4 a5 a6");
    expect(await admit(2)).toBe("a1 a2");
    await ask("b1 b2 c1");
    expect(await admit(8)).toBe("b1 c1 a3 b2 a4 a5");
    expect(await admit(100)).toBe("a6");
  });

  it("gives an account with weight 2 two for every one of another", async () => {
    await quotas("a", { weight: 2 });
    await ask("b1 b2 b3 a1 a2 a3 a4 a5 a6");
    expect(await admit(9)).toBe("b1 a1 a2 b2 a3 a4 b3 a5 a6");
  });

  it("does not let an account that was idle catch up, nor one that cancelled pay for it", async () => {
    for (const key of await ask("a1 a2 a3 a4")) {
      await admit(1);
      await work(key);
    }
    const gone = await ask("a5 a6 a7");
    for (const { accountId, runId } of gone) await requestCancel(test.db, accountId, runId);
    await ask("b1 a8 b2 a9");
    expect(await admit(4)).toBe("b1 a8 b2 a9");
  });

  it("puts interactive runs before scheduled ones before bulk, but lets nobody starve", async () => {
    await ask("a1 a2", "bulk");
    await ask("a3 b1", "scheduled");
    await ask("a4 b2", "interactive");
    expect(await admit(6)).toBe("a4 b2 a3 b1 a1 a2");
    await test.pool.query("truncate runs; update run_lines set turn = 0");
    await ask("b3", "scheduled");
    await ask(Array.from({ length: 120 }, (_, n) => `a${n}`).join(" "), "interactive");
    const order = (await admit(200, { maxRunning: 1_000 })).split(" ");
    expect(order.indexOf("b3")).toBe(100);
  });

  it("keeps every account within its cap, its own or the installation's", async () => {
    const [first] = await ask("a1 a2 a3 a4 a5 a6");
    await ask("b1 b2 b3");
    await quotas("b", { max_running: 1 });
    expect(await admit(100, { maxRunning: 2 })).toBe("a1 b1 a2");
    await work(first!);
    expect(await admit(100, { maxRunning: 2, accounts: ["b"] })).toBe("");
    expect(await admit(100, { maxRunning: 2, accounts: ["a"] })).toBe("a3");
    await quotas("a", { max_running: 0 });
    await ask("c1");
    expect(await admit(100, { maxRunning: 2 })).toBe("c1");
  });

  it("fills the places that are there, and again those that ends, cancels and failed enqueues make free", async () => {
    const [a1, a2, a3] = await ask("a1 a2 a3 a4 a5 a6 a7");
    expect(await admit(3)).toBe("a1 a2 a3");
    expect(await admit(3)).toBe("");
    await work(a1!);
    expect(await admit(3)).toBe("a4");
    await requestCancel(test.db, "a", a2!.runId);
    expect(await admit(3)).toBe("a5");
    await takeBack(test.db, a3!);
    expect(await admit(3)).toBe("a3");
  });

  it("lets a run that is to be tried again hold no place", async () => {
    const [a1] = await ask("a1 a2");
    expect(await admit(1)).toBe("a1");
    const { fence } = (await claimRun(test.db, a1!, "test"))!;
    expect(await admit(1)).toBe("");
    const error = { code: "internal_error", message: "once more" };
    await settleRun(test.db, { ...a1!, fence }, { status: "queued", error, spendAttempt: true });
    expect(await admit(1)).toBe("a2");
  });

  it("admits nothing to a queue that is paused, and each kind on its own", async () => {
    await test.pool.query("insert into queue_pauses (queue, paused_by) values ('exports', 'test')");
    await ask("a1");
    await ask("a2", "interactive", "report");
    expect(await admit(9)).toBe("");
    expect(await admit(9, {}, "report")).toBe("a2");
  });

  it("counts the workers that are alive", async () => {
    const seen: number[] = [];
    const watching: Line = { ...line(0), places: (slots) => seen.push(slots) * 0 };
    const [one, two] = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"];
    await admitRuns(test.db, watching, { ...round, slotsWithoutWorkers: 7 });
    for (const workerId of [one, two, two]) await beatWorker(test.db, { workerId, name: "test", slots: 4 });
    await admitRuns(test.db, watching, round);
    await test.pool.query("update workers set seen_at = now() - interval '16 seconds' where worker_id = $1", [
      one,
    ]);
    await admitRuns(test.db, watching, round);
    await removeWorker(test.db, two);
    await admitRuns(test.db, watching, round);
    expect(seen).toEqual([7, 8, 4, 1]);
  });

  it("gives runs that are asked for at the same time turns of their own", async () => {
    await Promise.all(Array.from({ length: 12 }, (_, n) => ask(`a${n}`)));
    await ask("b1");
    const order = (await admit(13)).split(" ");
    expect(order.indexOf("b1")).toBeLessThanOrEqual(1);
  });

  it("admits no run twice and none too many, however many processes ask at once", async () => {
    await ask(Array.from({ length: 40 }, (_, n) => `${"abc"[n % 3]}${n}`).join(" "));
    const rounds = await Promise.all(Array.from({ length: 8 }, () => admit(25, { maxRunning: 9 })));
    const admitted = rounds.filter(Boolean).flatMap((round) => round.split(" "));
    expect(new Set(admitted).size).toBe(25);
    expect(admitted.length).toBe(25);
  });
});

describe("the place in line", () => {
  it("is the one in the order of admission, behind what is admitted and has not started", async () => {
    const [a1, a2, a3] = await ask("a1 a2 a3");
    const [b1] = await ask("b1");
    const places = () => Promise.all([a1, a2, b1, a3].map(async (key) => (await place(key!)).position));
    expect(await places()).toEqual([1, 3, 2, 4]);
    await admit(1);
    expect(await places()).toEqual([1, 3, 2, 4]);
    await claimRun(test.db, a1!, "test");
    expect((await places()).slice(1)).toEqual([2, 1, 3]);
  });

  it("comes with the time to the start, once the workers and their speed are known", async () => {
    const [a1, a2] = await ask("a1 a2");
    expect(await place(a1!)).toEqual({ position: 1, etaSeconds: null });
    await admit(0, { tookMs: [60_000] });
    expect((await place(a2!)).etaSeconds).toBeNull();
    await beatWorker(test.db, { workerId: "00000000-0000-4000-8000-000000000003", name: "test", slots: 4 });
    expect(await place(a2!)).toEqual({ position: 2, etaSeconds: 30 });
    await admit(0, { tookMs: [10_000] });
    expect((await place(a2!)).etaSeconds).toBe(28);
  });

  it("is counted up to a thousand", async () => {
    await test.pool.query(
      "insert into runs (account_id, kind, params, requested_by) select 'a', 'export', '{}', 'test' from generate_series(1, 1500)",
    );
    expect((await place((await ask("b1"))[0]!)).position).toBe(1_000);
  });
});
