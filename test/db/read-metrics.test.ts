import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findMetric, metricDimensions, metrics } from "../../src/analytics/catalog.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertEvents, type NewEvent } from "../../src/db/queries/insert-events.js";
import { type MetricsRow, metricsStatement, readMetrics } from "../../src/db/queries/read-metrics.js";
import { canonicalEvent, type EventJson, timeQualities } from "../../src/sources/canonical-event.js";
import { eventKey } from "../../src/sources/event-key.js";
import { eventHistories, historyWindows } from "../support/event-histories.js";
import { type OracleQuery, type OracleRow, oracleMetrics } from "../support/oracle.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

let made = 0;
const newAccount = async () => {
  const accountId = `account-${++made}`;
  await ensureAccounts(test.db, [accountId]);
  return accountId;
};

function toNewEvent(accountId: string, json: EventJson): NewEvent {
  const event = canonicalEvent.parse(json);
  const { key, hash } = eventKey(event);
  return {
    accountId,
    eventKey: key,
    keyHash: hash,
    occurredAtMs: Date.parse(event.occurred_at),
    timeQuality: timeQualities.indexOf(event.time_quality ?? "provider"),
    type: event.type,
    direction: event.direction ?? (event.type === "message.received" ? "inbound" : "outbound"),
    textLength: event.text_length,
    messageId: event.message_id,
    channelId: event.channel_id,
    contentKind: event.content_kind,
    template: event.template?.name,
    campaignId: event.campaign_id,
    errorCode: event.error?.code,
    errorClass: event.error?.class,
  };
}

async function store(accountId: string, events: readonly EventJson[]): Promise<void> {
  await insertEvents(
    test.db,
    events.map((event) => toNewEvent(accountId, event)),
  );
}

async function fold(accountId: string): Promise<void> {
  await foldBatch(test.db, accountId, { limit: 100_000 });
}

/**
 * The fold has tests of its own for what is left out here: what edits, revokes and deletions say of a message, and
 * texts with a length but without a kind.
 */
const forMetrics = (events: readonly EventJson[]): EventJson[] =>
  events
    .filter(({ type }) => !["message.edited", "message.revoked", "message.deleted"].includes(type))
    .map(({ text_length: _, ...event }) => event);

const query = (accountId: string, more: Partial<MetricsQuery>): MetricsQuery => ({
  accountId,
  metrics: ["messages_attempted"],
  from: new Date("2025-03-28T00:00:00Z"),
  to: new Date("2025-10-28T00:00:00Z"),
  interval: "day",
  groupBy: [],
  timeZone: "UTC",
  basis: "cohort",
  filters: {},
  ...more,
});

const read = (asked: MetricsQuery) => readMetrics(test.db, planMetrics(asked));

const oracleIds = metrics.filter((metric) => metric.family === "delivery").map((metric) => metric.id);

const oracleQuery = (asked: MetricsQuery): OracleQuery => ({
  account_id: "a",
  metrics: [...asked.metrics],
  from: asked.from.toISOString(),
  to: asked.to.toISOString(),
  interval: asked.interval,
  group_by: [...asked.groupBy],
  time_zone: asked.timeZone,
  basis: asked.basis,
  filters: asked.filters as NonNullable<OracleQuery["filters"]>,
});

const isApproximate = (id: string) => findMetric(id)?.unit === "seconds" && !id.endsWith("_mean");

/** Cell by cell: counts, rates and means exactly, percentiles and maxima within 1 %. */
function expectRows(found: MetricsRow[], expected: OracleRow[]): void {
  const exactly = (row: OracleRow | MetricsRow) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [
        name,
        isApproximate(name) && value !== null ? "about" : value,
      ]),
    );
  expect(found.map(exactly)).toEqual(expected.map(exactly));
  for (const [index, row] of expected.entries())
    for (const [name, value] of Object.entries(row))
      if (isApproximate(name) && typeof value === "number") {
        const seconds = found[index]![name] as number;
        expect(Math.abs(seconds - value), `${name}: ${seconds}, not ${value}`).toBeLessThanOrEqual(
          value * 0.01 + 1e-9,
        );
      }
}

const QUARTER_MS = 900_000;
const ranges = fc
  .tuple(fc.constantFrom(...historyWindows), fc.nat(96 * 12), fc.integer({ min: 1, max: 96 * 12 }))
  .map(([window, offset, length]) => {
    const from = Date.parse(window.from) - 2 * 96 * QUARTER_MS + offset * QUARTER_MS;
    return { from: new Date(from), to: new Date(from + length * QUARTER_MS) };
  });
const filters = fc.record(
  {
    channel_id: fc.constantFrom(["c1"], ["c,3", null]),
    direction: fc.constantFrom(["outbound"], ["inbound", "outbound"]),
    template: fc.constantFrom([null], ["offer", 'spring "sale"', "it's\\n,{}"]),
    error_code: fc.constantFrom([null], ["131026", "131047"]),
  },
  { requiredKeys: [] },
);
const queries = fc
  .record({
    range: fc.oneof(fc.constant({}), ranges),
    interval: fc.constantFrom<MetricsQuery["interval"]>("15m", "hour", "day", "week", "month", "all"),
    groupBy: fc.oneof(
      fc.constant([]),
      fc.shuffledSubarray([...metricDimensions], { minLength: 1, maxLength: 3 }),
    ),
    timeZone: fc.constantFrom(
      "UTC",
      "Europe/Berlin",
      "Australia/Lord_Howe",
      "Asia/Kathmandu",
      "America/Havana",
    ),
    basis: fc.constantFrom("cohort" as const, "event" as const),
    filters: fc.oneof(fc.constant({}), filters),
    metrics: fc.oneof(fc.constant(oracleIds), fc.shuffledSubarray(oracleIds, { minLength: 1 })),
  })
  .map(({ range, interval, ...rest }) => ({
    ...rest,
    ...range,
    // The whole time is too long for the finest intervals.
    interval: !("from" in range) && interval === "15m" ? ("hour" as const) : interval,
  }));

describe("readMetrics", () => {
  it("agrees with the oracle in every cell", { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        eventHistories("a"),
        fc.array(queries, { minLength: 3, maxLength: 3 }),
        async (history, asked) => {
          const events = forMetrics(history);
          const accountId = await newAccount();
          await store(accountId, events);
          await fold(accountId);
          for (const more of asked) {
            const wanted = query(accountId, more);
            const found = await read(wanted);
            const expected = oracleMetrics(events, oracleQuery(wanted));
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
    await fold(accountId);
    expect(await between(asOf)).toBe(true);
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
    await test.pool.query(`insert into dimension_sets (account_id, dimensions_id, template)
      select 'full-' || account, md5(dim::text)::uuid, dim from generate_series(1, 10) account, generate_series(1, 2) dim`);
    await test.pool.query("analyze rollups, dimension_sets");
    const asked = query("full-3", {
      from: new Date("2025-01-03T00:00:00Z"),
      to: new Date("2025-01-10T00:00:00Z"),
      interval: "hour",
    });
    const latency = { metrics: ["time_to_send_p95", "messages_sent"] };
    const grouped = { groupBy: ["template" as const], filters: { template: ["1", null] } };
    for (const more of [{}, latency, grouped, { ...latency, ...grouped }]) {
      const { text, parameters } = metricsStatement(planMetrics({ ...asked, ...more }), 100);
      const plan = await test.pool.query(`explain ${text}`, parameters);
      const lines = plan.rows.map((row) => row["QUERY PLAN"] as string).join("\n");
      expect(lines).toMatch(/(Index Scan|Bitmap Index Scan|Index Only Scan) (using|on) rollups_pkey/);
      expect(lines).not.toMatch(/Seq Scan on (rollups|message_events)/);
    }
  });
});
