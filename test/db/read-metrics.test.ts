import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findMetric, metricDimensions, metrics } from "../../src/analytics/catalog.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertEvents, type NewEvent } from "../../src/db/queries/insert-events.js";
import { ensurePartitions } from "../../src/db/queries/partitions.js";
import {
  type MetricsResult,
  type MetricsRow,
  metricsStatement,
  readMetrics,
} from "../../src/db/queries/read-metrics.js";
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

/** What edits, revokes and deletions say of a message is left out: they are no stages. */
const isStage = (event: EventJson) =>
  !["message.edited", "message.revoked", "message.deleted"].includes(event.type);

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
          const events = history.filter(isStage);
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
      { numRuns: 25 },
    );
  });
});
