import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { statusOf } from "../../src/db/fold/message-state.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { metricsStatement } from "../../src/db/queries/metrics-statement.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { messageRollups } from "../../src/db/rollups/messages.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { eventHistories } from "../support/event-histories.js";
import { expectRows, oracleQuery, queries, query } from "../support/metrics-cells.js";
import { oracleMetrics } from "../support/oracle.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

let made = 0;
const store = (accountId: string, events: readonly EventJson[]) => storeEvents(test.db, accountId, events);
const fold = (accountId: string) => foldBatch(test.db, accountId, { limit: 100_000 });
const statementOf = (asked: MetricsQuery) => {
  const plan = planMetrics(asked);
  return metricsStatement(plan, plan.rollups[0]!, messageRollups, 100);
};
const read = (asked: MetricsQuery) => readMetrics(test.db, planMetrics(asked));

const newAccount = async () => {
  const accountId = `account-${++made}`;
  await ensureAccounts(test.db, [accountId]);
  return accountId;
};

describe("readMetrics", () => {
  it("agrees with the oracle in every cell", { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        eventHistories("a"),
        fc.array(queries, { minLength: 3, maxLength: 3 }),
        async (history, asked) => {
          const accountId = await newAccount();
          await store(accountId, history);
          await fold(accountId);
          for (const more of asked) {
            const wanted = query(accountId, more);
            const found = await read(wanted);
            const expected = oracleMetrics(history, oracleQuery(wanted));
            expectRows(found.rows, expected.rows);
            expectRows(found.totals, expected.totals);
          }
        },
      ),
      { numRuns: 25, endOnFailure: true },
    );
  });

  const sent = (id: string, time: string, more: Partial<EventJson> = {}): EventJson => ({
    account_id: "a",
    type: "message.sent",
    message_id: id,
    occurred_at: time,
    ...more,
  });

  it("takes a message to a group for failed when it failed for all of whom it knows, and never for contradicted", async () => {
    const accountId = await newAccount();
    const say = (id: string, type: string, participant?: string): EventJson => ({
      ...sent(id, "2025-03-28T10:00:00Z", { type: `message.${type}` as EventJson["type"] }),
      ...{ chat_id: "team", chat_kind: "group" },
      ...(participant ? { participant_id: participant } : {}),
      ...(type === "failed" ? { error: { code: "131026", class: "recipient" } } : {}),
    });
    await store(accountId, [
      ...[say("reached", "failed", "a"), say("reached", "delivered", "b")],
      ...[say("on its way", "failed", "a"), say("on its way", "sent", "b")],
      ...[say("nobody", "failed", "a"), say("nobody", "failed", "b"), say("nobody", "sent", "b")],
      ...[say("whole", "sent"), say("whole", "failed")],
    ]);
    for (let times = 0; times < 2; times++) {
      await fold(accountId);
      for (const basis of ["cohort", "event"] as const) {
        const ids = ["messages_attempted", "messages_delivered", "messages_failed", "messages_pending"];
        const asked = {
          basis,
          metrics: [...ids, "message_contradictions"],
          groupBy: ["error_class" as const],
        };
        expect((await read(query(accountId, asked))).totals).toEqual([
          {
            error_class: "recipient",
            ...{ messages_attempted: 2, messages_delivered: 0, messages_failed: 2, messages_pending: 0 },
            message_contradictions: 0,
          },
          {
            error_class: null,
            ...{ messages_attempted: 2, messages_delivered: 1, messages_failed: 0, messages_pending: 1 },
            message_contradictions: 0,
          },
        ]);
      }
      // The second time with one of them by itself, on top of what is known.
      if (times === 0) await store(accountId, [say("nobody", "failed", "c")]);
    }
    await store(accountId, [say("nobody", "delivered", "c")]);
    await fold(accountId);
    const { totals } = await read(query(accountId, { metrics: ["messages_failed", "messages_delivered"] }));
    expect(totals).toEqual([{ messages_failed: 1, messages_delivered: 2 }]);
    const { rows } = await test.pool.query(
      `select message_id, ${statusOf("m")} as status from messages m where account_id = $1 order by 1`,
      [accountId],
    );
    expect(Object.fromEntries(rows.map((row) => [row.message_id, row.status]))).toEqual({
      ...{ nobody: "delivered", "on its way": "sent", reached: "delivered", whole: "failed" },
    });
  });

  it("fills empty buckets without dimensions only, and always has a total without them", async () => {
    const accountId = await newAccount();
    const range = { from: new Date("2025-03-29T00:00:00Z"), to: new Date("2025-04-01T00:00:00Z") };
    const asked = query(accountId, {
      ...range,
      metrics: ["messages_sent", "delivery_rate", "time_to_send_max"],
    });
    const nothing = { messages_sent: 0, delivery_rate: null, time_to_send_max: null };
    const empty = await read(asked);
    expect(empty.rows).toEqual(
      ["29", "30", "31"].map((day) => ({ bucket: `2025-03-${day}T00:00:00.000Z`, ...nothing })),
    );
    expect(empty.totals).toEqual([nothing]);
    const grouped = await read({ ...asked, groupBy: ["template"] });
    expect([grouped.rows, grouped.totals]).toEqual([[], []]);
  });

  it("leaves out combinations that contribute nothing in the asked basis", async () => {
    const accountId = await newAccount();
    await store(accountId, [
      sent("m", "2025-03-28T10:00:00Z"),
      sent("m", "2025-03-29T10:00:00Z", { type: "message.read" }),
    ]);
    await fold(accountId);
    const days = async (basis: "cohort" | "event") =>
      (await read(query(accountId, { basis, groupBy: ["direction"] }))).rows.map((row) =>
        String(row.bucket).slice(8, 10),
      );
    expect(await days("cohort")).toEqual(["28"]);
    expect(await days("event")).toEqual(["28", "29"]);
  });

  it("shows where something left the queue, whichever metric of the queue is asked for", async () => {
    const accountId = await newAccount();
    await store(accountId, [
      sent("m", "2025-03-28T10:00:00Z", { type: "message.queued" }),
      sent("m", "2025-03-29T10:00:00Z", { type: "message.accepted" }),
      sent("m", "2025-03-30T10:00:00Z"),
    ]);
    await fold(accountId);
    for (const metric of ["queue_wait_p50", "queue_retries", "messages_queued"]) {
      const asked = { metrics: [metric], groupBy: ["direction" as const], basis: "event" as const };
      const { rows, totals } = await read(query(accountId, asked));
      expect(rows.map(({ bucket }) => String(bucket).slice(8, 10))).toEqual(["28", "29", "30"]);
      expect(totals).toHaveLength(1);
      // It has left: nothing stands in a range after it.
      const later = await read(query(accountId, { ...asked, from: new Date("2025-04-01T00:00:00Z") }));
      expect(later.totals).toEqual([]);
    }
  });

  it("counts contradictions and clock anomalies", async () => {
    const accountId = await newAccount();
    await store(accountId, [
      sent("m", "2025-03-28T10:00:00Z"),
      sent("m", "2025-03-28T10:00:01Z", { type: "message.failed" }),
      sent("m", "2025-03-28T09:59:00Z", { type: "message.delivered" }),
    ]);
    await fold(accountId);
    for (const basis of ["cohort", "event"] as const) {
      const quality = ["message_contradictions", "clock_anomalies"];
      const { totals } = await read(query(accountId, { basis, metrics: quality }));
      expect(totals).toEqual([{ message_contradictions: 1, clock_anomalies: 1 }]);
    }
  });

  it("refuses more rows than the limit instead of cutting them off", async () => {
    const accountId = await newAccount();
    const events = ["a", "b", "c"].map((template) =>
      sent(template, "2025-03-28T10:00:00Z", { template: { name: template } }),
    );
    await store(accountId, events);
    await fold(accountId);
    const plan = planMetrics(query(accountId, { groupBy: ["template"] }));
    expect((await readMetrics(test.db, plan, { maxRows: 6 })).rows).toHaveLength(3);
    await expect(readMetrics(test.db, plan, { maxRows: 5 })).rejects.toMatchObject({
      code: "too_many_rows",
      message: expect.stringContaining("more than 5 rows"),
    });
  });

  it("has a total of what stands in the queue or moved, and of nothing that left it long ago", async () => {
    const accountId = await newAccount();
    const say = (id: string, type: "queued" | "sent", time: string) =>
      sent(id, time, { type: `message.${type}`, channel_id: id });
    await store(accountId, [
      ...[say("gone", "queued", "2025-03-28T10:00:00Z"), say("gone", "sent", "2025-03-28T11:00:00Z")],
      say("stands", "queued", "2025-03-28T10:00:00Z"),
      ...[say("leaves", "queued", "2025-03-28T10:00:00Z"), say("leaves", "sent", "2025-04-02T10:00:00Z")],
      ...[say("passes", "queued", "2025-04-02T10:00:00Z"), say("passes", "sent", "2025-04-02T10:01:00Z")],
    ]);
    await fold(accountId);
    const asked = (more: Partial<MetricsQuery>) =>
      query(accountId, {
        from: new Date("2025-04-01T00:00:00Z"),
        to: new Date("2025-04-05T00:00:00Z"),
        metrics: ["queue_depth", "messages_dequeued"],
        groupBy: ["channel_id"],
        ...more,
      });
    expect((await read(asked({}))).totals).toEqual([
      { channel_id: "leaves", queue_depth: 0, messages_dequeued: 1 },
      { channel_id: "passes", queue_depth: 0, messages_dequeued: 1 },
      { channel_id: "stands", queue_depth: 1, messages_dequeued: 0 },
    ]);
    // What has left is measured all the same.
    const gone = asked({ filters: { channel_id: ["gone"] } });
    expect(await read(gone)).toMatchObject({ totals: [], has_queue: true });
    expect(await read({ ...gone, groupBy: [] })).toMatchObject({
      totals: [{ queue_depth: 0, messages_dequeued: 0 }],
      has_queue: true,
    });
  });

  it("divides by the time that has passed, and by none that is to come", async () => {
    const accountId = await newAccount();
    await store(accountId, [
      ...["m", "n", "o"].map((id) => sent(id, "2025-03-28T10:00:00Z", { type: "message.queued" })),
      ...["m", "n"].map((id) => sent(id, "2025-03-28T10:05:00Z")),
    ]);
    await fold(accountId);
    const asked = query(accountId, {
      from: new Date("2025-03-28T10:00:00Z"),
      to: new Date("2025-03-28T10:30:00Z"),
      interval: "15m",
      metrics: ["queue_throughput", "queue_drain_time"],
    });
    const at = async (now: string) => {
      const { rows, totals } = await readMetrics(test.db, planMetrics(asked), { now: new Date(now) });
      return [...rows, ...totals].map((row) => [row.queue_throughput, row.queue_drain_time]);
    };
    const nothing = [null, null];
    expect(await at("2025-03-28T10:00:00Z")).toEqual([nothing, nothing, nothing]);
    expect(await at("2025-03-28T10:10:00Z")).toEqual([[0.2, 300], nothing, [0.2, 300]]);
    expect(await at("2025-03-28T10:20:00Z")).toEqual([
      [2 / 15, 450],
      [0, null],
      [0.1, 600],
    ]);
    const ended = [
      [2 / 15, 450],
      [0, null],
      [2 / 30, 900],
    ];
    expect(await at("2025-03-28T10:30:00Z")).toEqual(ended);
    expect(await at("2026-03-28T10:30:00Z")).toEqual(ended);
  });

  it("does not know an account that does not exist", async () => {
    await expect(read(query("nobody", {}))).rejects.toMatchObject({ code: "account_not_found" });
  });

  it("is as of now when all events are counted, else as of the last complete fold", async () => {
    const accountId = await newAccount();
    const clock = async () =>
      (await test.pool.query<{ now: Date }>("select clock_timestamp() as now")).rows[0]!.now.getTime();
    const asOf = async () => Date.parse((await read(query(accountId, {}))).as_of);
    const between = async (act: () => Promise<number>) => {
      const before = await clock();
      const time = await act();
      return time >= before && time <= (await clock());
    };
    expect(await between(asOf)).toBe(true);
    const untouched = await clock();
    await store(accountId, [sent("m", "2025-03-28T10:00:00Z")]);
    expect(await asOf()).toBeLessThan(untouched);
    // A transaction of another test holds the watermark back for as long as it runs.
    const settled = async () => {
      await fold(accountId);
      return between(asOf);
    };
    await expect.poll(settled, { timeout: 30_000 }).toBe(true);
    const folded = await clock();
    await store(accountId, [sent("n", "2025-03-28T10:00:00Z")]);
    expect(await asOf()).toBeLessThanOrEqual(folded);
    expect(await asOf()).toBeGreaterThanOrEqual(untouched);
  });
});

describe("the plan of the statement", () => {
  it("reads an index range of the rollups, whatever is asked", async () => {
    const rows = `insert into rollups (account_id, bucket, dimensions_id, attempted, bins, counts)
      select 'full-' || account, '2025-01-01'::timestamptz + slot * interval '15 minutes',
             md5(dim::text)::uuid, 1, '{100}', '{1}'
      from generate_series(1, 10) account, generate_series(0, 1999) slot, generate_series(1, 2) dim`;
    await test.pool.query(rows);
    await test.pool.query(`insert into dimension_sets (account_id, grouping, dimensions_id, template)
      select 'full-' || account, 127, md5(dim::text)::uuid, dim from generate_series(1, 10) account, generate_series(1, 2) dim`);
    await test.pool.query("analyze rollups, dimension_sets");
    const asked = query("full-3", {
      from: new Date("2025-01-03T00:00:00Z"),
      to: new Date("2025-01-10T00:00:00Z"),
      interval: "hour",
    });
    const latency = { metrics: ["time_to_send_p95", "messages_sent"] };
    const grouped = { groupBy: ["template" as const], filters: { template: ["1", null] } };
    for (const more of [{}, latency, grouped, { ...latency, ...grouped }]) {
      const { text, parameters } = statementOf({ ...asked, ...more });
      const plan = await test.pool.query(`explain ${text}`, parameters);
      const lines = plan.rows.map((row) => row["QUERY PLAN"] as string).join("\n");
      expect(lines).toMatch(/(Index Scan|Bitmap Index Scan|Index Only Scan) (using|on) rollups_pkey/);
      expect(lines).not.toMatch(/Seq Scan on (rollups|message_events)/);
    }
  });
});
