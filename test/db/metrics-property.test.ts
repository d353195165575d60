import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { StoredSettings } from "../../src/analytics/account-settings.js";
import { metrics } from "../../src/analytics/catalog.js";
import { planHeatmap } from "../../src/analytics/heatmap-plan.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { createAccount, findConfiguredAccount } from "../../src/db/queries/accounts.js";
import { readFlows } from "../../src/db/queries/read-flows.js";
import { readHeatmap } from "../../src/db/queries/read-heatmap.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { casesOf, isThorough } from "../support/cases.js";
import { historyWindows, shuffleSplitDuplicate } from "../support/event-histories.js";
import { foldPieces, joinedBatches, rebuildPieces } from "../support/folded.js";
import { expectRows, keptDays, oracleQuery, query } from "../support/metrics-cells.js";
import { questions } from "../support/metrics-questions.js";
import { isKnownToOracle, type OracleRow, oracleHeatmap, oracleMetrics } from "../support/oracle.js";
import { type OracleRules, oracleConversations } from "../support/oracle-conversations.js";
import { oracleFlows } from "../support/oracle-flows.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";
import { trafficHistories } from "../support/traffic-histories.js";

/** Each has its own traffic, disorder, batching, work in between and questions. */
const CASES = casesOf("METRICS", { few: 30, many: 100 });

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const cases = trafficHistories("a").chain((history) =>
  fc.record({
    history: fc.constant(history),
    batches: shuffleSplitDuplicate(history).map((batches) => joinedBatches(5, batches)),
    // What follows each batch.
    next: fc.array(fc.constantFrom("wait", "fold", "settle", "rebuild"), { minLength: 5, maxLength: 5 }),
    isSettled: fc.boolean(),
    limit: fc.constantFrom(20, 1_000),
    settings: fc.record({
      session_gap_hours: fc.constantFrom(1, 24),
      reply_window_hours: fc.constantFrom(1, 48),
      sla_seconds: fc.constantFrom(3_600, 43_200),
    }),
    timeZone: fc.constantFrom("Europe/Berlin", "Pacific/Chatham", "UTC"),
    asked: fc.array(questions, { minLength: 4, maxLength: 4 }),
    // The oracle asks the wall clock for each quarter of an hour: not of seven months each time.
    heatmap: questions.filter((one) => "from" in one),
    flows: fc.record({
      from: fc.nat(8),
      days: fc.nat(8),
      depth: fc.constantFrom(1, 2, 6, 20),
      fewest: fc.constantFrom(1, 2, 4),
    }),
  }),
);

/** Which metrics have met a number that is not 0: a yardstick that only ever measures nothing tells nothing. */
const met = new Set<string>();
const note = (rows: readonly OracleRow[]) => {
  for (const row of rows) for (const [name, value] of Object.entries(row)) if (value) met.add(name);
};

async function expectMetrics(history: EventJson[], wanted: MetricsQuery, rules: OracleRules) {
  const found = await readMetrics(test.db, planMetrics(wanted));
  const expected = oracleMetrics(history, oracleQuery(wanted, rules));
  expectRows(found.rows, expected.rows);
  expectRows(found.totals, expected.totals);
  note([...expected.rows, ...expected.totals]);
}

async function expectHeatmap(history: EventJson[], wanted: MetricsQuery, rules: OracleRules) {
  const metric = wanted.metrics[0]!;
  const found = await readHeatmap(test.db, planHeatmap({ ...wanted, metrics: [metric] }));
  const expected = oracleHeatmap(history, { ...oracleQuery(wanted, rules), metric });
  const row = (value: number | null) => ({ [metric]: value });
  expectRows(
    found.cells.map(row),
    expected.cells.map(({ value }) => row(value)),
  );
  expectRows([row(found.total)], [row(expected.total)]);
}

const byText = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).sort();
const dayAfter = (days: number) =>
  new Date(Date.parse(historyWindows[0].from) + days * 86_400_000).toISOString().slice(0, 10);

async function expectFlows(
  accountId: string,
  history: EventJson[],
  rules: OracleRules,
  { from, days, depth, fewest }: { from: number; days: number; depth: number; fewest: number },
) {
  const { zone_id, time_zone } = (await findConfiguredAccount(test.db, accountId))!;
  const range = { from: dayAfter(from), to: dayAfter(from + 1 + days) };
  const { as_of: _, ...found } = await readFlows(test.db, {
    ...range,
    accountId,
    zoneId: zone_id!,
    depth,
    minConversations: fewest,
  });
  const expected = oracleFlows(oracleConversations(history, rules), {
    ...range,
    timeZone: time_zone,
    depth,
    fewest,
  });
  expect({ ...found, nodes: byText(found.nodes), links: byText(found.links) }).toEqual({
    ...expected,
    nodes: byText(
      expected.nodes.map(({ position, step, conversations, dropOff }) => ({
        position,
        step,
        conversations,
        dropOff,
      })),
    ),
    links: byText(
      expected.links.map(({ position, from, to, conversations }) => ({ position, from, to, conversations })),
    ),
  });
}

const states = ["queue_depth", "queue_drain_time", "queue_oldest_age"];

let made = 0;

it("traffic of every kind in any order gives the oracle's numbers, whatever is asked", {
  timeout: 1_800_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      cases,
      async ({ history, batches, next, isSettled, limit, settings, timeZone, asked, heatmap, flows }) => {
        const accountId = `property-${++made}`;
        await createAccount(test.db, {
          accountId,
          name: null,
          timeZone,
          settings: settings as StoredSettings,
        });
        for (const [index, batch] of batches.entries()) {
          await storeEvents(test.db, accountId, batch);
          if (next[index] !== "wait") await foldPieces(test.db, accountId, limit);
          if (next[index] === "settle") await settleRollups(test.db, accountId);
          if (next[index] === "rebuild") await rebuildPieces(test.db, accountId, 2, 2);
        }
        await foldPieces(test.db, accountId, 1_000);
        await rebuildPieces(test.db, accountId, 500);
        if (isSettled) await settleRollups(test.db, accountId);

        const rules = {
          gapMs: settings.session_gap_hours * 3_600_000,
          replyWindowMs: settings.reply_window_hours * 3_600_000,
          slaMs: settings.sla_seconds * 1_000,
        };
        for (const one of asked)
          await expectMetrics(history, query(accountId, { ...one, kept: keptDays(timeZone) }), rules);
        const cells = heatmap.metrics.filter((id) => !states.includes(id));
        if (cells.length > 0)
          await expectHeatmap(
            history,
            query(accountId, { ...heatmap, metrics: cells, kept: keptDays(timeZone) }),
            rules,
          );
        await expectFlows(accountId, history, rules, flows);
      },
    ),
    { numRuns: CASES, endOnFailure: true },
  );
  const unmet = metrics.filter(({ rollup, id }) => rollup !== "contacts" && !met.has(id)).map(({ id }) => id);
  if (isThorough) expect(unmet).toEqual([]);
});

it("every metric of the catalogue has an oracle", () => {
  const known = metrics
    .filter(({ id, rollup }) => isKnownToOracle(id) || rollup === "contacts")
    .map(({ id }) => id);
  expect(known).toEqual(metrics.map(({ id }) => id));
});
