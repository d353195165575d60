import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultSettings } from "../../src/analytics/account-settings.js";
import { metrics } from "../../src/analytics/catalog.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { createAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import type { EventJson, SourceBatch } from "../../src/sources/canonical-event.js";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";
import { fixtureNamesOf, fixtureOf, receivedAt, webSources } from "../sources/web-sources.js";
import { foldPieces, rebuildPieces } from "../support/folded.js";
import { expectRows, keptDays, oracleQuery, query } from "../support/metrics-cells.js";
import { oracleMessages, oracleMetrics } from "../support/oracle.js";
import { oracleContacts, oraclePeriod, oracleRange } from "../support/oracle-contacts.js";
import { groupBy } from "../support/oracle-messages.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const sources: Readonly<Record<string, (payload: unknown) => SourceBatch>> = {
  "whatsapp-cloud": readWhatsappCloud,
  ...Object.fromEntries(
    Object.entries(webSources).map(([source, read]) => [
      source,
      (payload: unknown) => read(payload, receivedAt),
    ]),
  ),
};

/** Examples use the same ids again for something else. What two of them say of one message at one time is not defined. */
function isDefinite(events: readonly EventJson[]): boolean {
  const told = groupBy(
    events.filter(({ message_id }) => message_id !== undefined),
    ({ message_id, type, occurred_at }) => JSON.stringify([message_id, type, Date.parse(occurred_at)]),
  );
  if ([...told.values()].some((same) => new Set(same.map((event) => JSON.stringify(event))).size > 1))
    return false;
  try {
    oracleMessages(events);
    return true;
  } catch {
    return false;
  }
}

/** The events of all payloads of a source, each payload in the first account in which it contradicts nobody. */
function accountsOf(source: string): EventJson[][] {
  const accounts: EventJson[][] = [];
  for (const name of fixtureNamesOf(source)) {
    const { events } = sources[source]!(fixtureOf(source, name));
    const own = events.map(({ event }): EventJson => ({ account_id: "a", ...event }));
    if (own.length === 0) continue;
    const fitting = accounts.find((others) => isDefinite([...others, ...own]));
    if (fitting) fitting.push(...own);
    else accounts.push(own);
  }
  return accounts;
}

const groupings = [
  [],
  ["direction", "content_kind"],
  ["template", "campaign_id"],
  ["error_class", "error_code"],
  ["channel_id"],
  ["channel_id", "started_by", "agent_id"],
] as const satisfies MetricsQuery["groupBy"][];

const { session_gap_hours, reply_window_hours, sla_seconds } = defaultSettings;
const rules = {
  gapMs: session_gap_hours * 3_600_000,
  replyWindowMs: reply_window_hours * 3_600_000,
  slaMs: sla_seconds * 1_000,
};

/** Whole months around all the events. */
function monthsOf(events: readonly EventJson[]): { from: Date; to: Date } {
  const times = events.map(({ occurred_at }) => Date.parse(occurred_at));
  const month = (time: number, later: number) => {
    const date = new Date(time);
    return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + later));
  };
  return { from: month(Math.min(...times), 0), to: month(Math.max(...times), 1) };
}

async function expectContacts(accountId: string, events: readonly EventJson[], from: Date, to: Date) {
  const contacts = oracleContacts(events, "UTC");
  const date = (time: Date) => time.toISOString().slice(0, 10);
  const ids = metrics.filter(({ rollup }) => rollup === "contacts").map(({ id }) => id);
  const asked = query(accountId, { from, to, interval: "month", metrics: ids, kept: keptDays("UTC") });
  const { rows, totals } = await readMetrics(test.db, planMetrics(asked));
  expect(rows).toEqual(
    rows.map(({ bucket }) => ({ bucket, ...oraclePeriod(contacts, "month", String(bucket).slice(0, 10)) })),
  );
  expect(totals).toEqual([oracleRange(contacts, date(from), date(to))]);
}

describe("the payloads of", () => {
  it.each(Object.keys(sources))("%s give the oracle's numbers", { timeout: 120_000 }, async (source) => {
    const accounts = accountsOf(source);
    const met = new Set<string>();
    for (const [index, events] of accounts.entries()) {
      const accountId = `${source}-${index}`;
      await createAccount(test.db, { accountId, name: null, timeZone: "UTC" });
      await storeEvents(test.db, accountId, events);
      await foldPieces(test.db, accountId, 1_000);
      await rebuildPieces(test.db, accountId, 500);
      await settleRollups(test.db, accountId);
      const range = monthsOf(events);
      for (const groupBy of groupings)
        for (const basis of ["cohort", "event"] as const) {
          const wanted = query(accountId, {
            ...range,
            basis,
            groupBy,
            groups: basis === "cohort" ? "exclude" : "include",
            responders: basis === "cohort" ? "human" : "any",
            interval: groupBy.length > 0 ? "day" : "month",
            kept: keptDays("UTC"),
            metrics: metrics
              .filter(
                ({ rollup, dimensions }) =>
                  rollup !== "contacts" && groupBy.every((name) => dimensions.includes(name)),
              )
              .map(({ id }) => id),
          });
          const found = await readMetrics(test.db, planMetrics(wanted));
          const expected = oracleMetrics(events, oracleQuery(wanted, rules));
          expectRows(found.rows, expected.rows);
          expectRows(found.totals, expected.totals);
          for (const row of expected.totals)
            for (const [name, value] of Object.entries(row)) if (value) met.add(name);
        }
      await expectContacts(accountId, events, range.from, range.to);
    }
    for (const id of ["messages_received", "messages_read", "messages_engaged", "turns"])
      expect(met).toContain(id);
  });
});
