import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { foldEvents } from "../../src/jobs/fold-events.js";
import { newEvent, openWork, storeEvents, type TestWork, testSettings } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const state = async (accountId: string) => {
  const messages = "select message_id, sent_at, delivered_at from messages where account_id = $1 order by 1";
  const rollups =
    "select * from rollup_deltas where account_id = $1 order by bucket, dimensions_id, attempted";
  return [
    (await test.pool.query(messages, [accountId])).rows,
    (await test.pool.query(rollups, [accountId])).rows,
  ];
};

const history = (accountId: string) =>
  Array.from({ length: 25 }, (_, index) => [
    newEvent(accountId, `m${index}`, "sent", `2025-03-01T09:${String(index).padStart(2, "0")}:00Z`),
    newEvent(accountId, `m${index}`, "delivered", `2025-03-01T09:${String(index).padStart(2, "0")}:02Z`),
  ]).flat();

describe("a fold", () => {
  it("catches up batch by batch, and finds nothing the second time", async () => {
    await storeEvents(test, history("a"));
    const settings = { ...testSettings, foldBatchSize: 7, artifactRetentionMs: 1 };
    const first = await test.work(foldEvents, { accountId: "a" }, { settings });
    expect(first).toEqual({ result: { events: 50, messages: expect.any(Number) }, enqueued: [] });
    const after = await state("a");
    expect(after[0]).toHaveLength(25);
    expect(after[1]!.length).toBeGreaterThan(1);
    expect(await measureDrift(test.db, "a")).toEqual({ messages: 25, rows: 0 });
    const second = await test.work(foldEvents, { accountId: "a" }, { settings });
    expect(second.enqueued).toEqual([]);
    expect(await state("a")).toEqual(after);
  });

  it("makes room for others after its turn and asks to come back", async () => {
    await storeEvents(test, history("b"));
    let time = 0;
    const clock = () => {
      time += 15_000;
      return new Date(time);
    };
    const { result, enqueued } = await test.work(
      foldEvents,
      { accountId: "b" },
      { settings: { ...testSettings, foldBatchSize: 10, artifactRetentionMs: 1 }, now: clock },
    );
    expect(result).toMatchObject({ events: 20, unfinished: true });
    expect(enqueued).toEqual([{ kind: "events.fold", payload: { accountId: "b" }, options: undefined }]);
    await test.work(foldEvents, { accountId: "b" });
    expect((await state("b"))[0]).toHaveLength(25);
    expect(await measureDrift(test.db, "b")).toEqual({ messages: 25, rows: 0 });
  });

  it("has what it leaves settled in time, and settles it itself where nobody does", async () => {
    const waitingRows = async () => {
      const text =
        "select unsettled_rows, unsettled_since is null as is_settled from fold_watermarks where account_id = 'd'";
      return (await test.pool.query(text)).rows[0];
    };
    const foldWith = async (unsettledRows: number, messageId: string) => {
      await storeEvents(test, [newEvent("d", messageId, "sent", "2025-03-01T09:00:00Z")]);
      await test.pool.query("update fold_watermarks set unsettled_rows = $1 where account_id = 'd'", [
        unsettledRows,
      ]);
      return (await test.work(foldEvents, { accountId: "d" })).enqueued;
    };
    expect(await foldWith(0, "first")).toEqual([]);
    expect(await waitingRows()).toEqual({ unsettled_rows: 1, is_settled: false });
    const wake = { kind: "rollups.settle", payload: { accountId: "d" }, options: undefined };
    expect(await foldWith(10_000, "second")).toEqual([wake]);
    expect(await waitingRows()).toEqual({ unsettled_rows: 10_001, is_settled: false });
    expect(await foldWith(100_000, "third")).toEqual([wake]);
    const waiting = await test.pool.query("select from rollup_deltas where account_id = 'd'");
    expect(waiting.rowCount).toBe(0);
    expect(await measureDrift(test.db, "d")).toEqual({ messages: 3, rows: 0 });
  });

  it("counts what a contact wants on each channel, in whatever order it hears of it", async () => {
    const stop = (accountId: string, channelId: string | null) =>
      newEvent(accountId, "", "", "2025-03-01T09:00:00Z", {
        type: "preference.changed",
        ...{ messageId: null, direction: null, contactId: "ann", channelId },
        change: JSON.stringify({ kind: "marketing", value: "stop" }),
      });
    const channels = ["c1", null, "c2"];
    const counted: unknown[] = [];
    for (const [accountId, order] of [
      ["forth", channels],
      ["back", channels.toReversed()],
    ] as const) {
      for (const channel of order) {
        await storeEvents(test, [stop(accountId, channel), stop(accountId, channel)]);
        await test.work(foldEvents, { accountId });
      }
      const { rows } = await test.pool.query(
        `select d.channel_id, r.opt_outs from rollup_deltas r join dimension_sets d using (account_id, dimensions_id)
         where account_id = $1 order by 1`,
        [accountId],
      );
      expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });
      counted.push(rows);
    }
    const each = ["c1", "c2", null].map((channel_id) => ({ channel_id, opt_outs: 1 }));
    expect(counted).toEqual([each, each]);
  });

  it("stops before the next batch when it is told to", async () => {
    await storeEvents(test, history("c"));
    const reason = new Error("stop");
    await expect(
      test.work(foldEvents, { accountId: "c" }, { signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    expect((await state("c"))[0]).toEqual([]);
  });

  it("of an account that is not there does nothing", async () => {
    const { result } = await test.work(foldEvents, { accountId: "nobody" });
    expect(result).toEqual({ events: 0, messages: 0 });
  });
});
