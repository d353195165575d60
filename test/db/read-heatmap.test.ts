import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planHeatmap } from "../../src/analytics/heatmap-plan.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { readHeatmap } from "../../src/db/queries/read-heatmap.js";

import { eventHistories } from "../support/event-histories.js";
import { expectRows, oracleQuery, queries, query } from "../support/metrics-cells.js";
import { oracleHeatmap } from "../support/oracle.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

let made = 0;

describe("readHeatmap", () => {
  it("agrees with the oracle in every cell", { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        eventHistories("a"),
        fc.array(queries, { minLength: 3, maxLength: 3 }),
        async (history, asked) => {
          const accountId = `account-${++made}`;
          await ensureAccounts(test.db, [accountId]);
          await storeEvents(test.db, accountId, history);
          await foldBatch(test.db, accountId, { limit: 100_000 });
          for (const more of asked) {
            const wanted = query(accountId, more);
            const metric = wanted.metrics[0]!;
            const plan = planHeatmap({ ...wanted, metrics: [metric] });
            const found = await readHeatmap(test.db, plan);
            const expected = oracleHeatmap(history, { ...oracleQuery(wanted), metric });
            expect(plan.hours).toEqual(expected.cells.map((cell) => cell.hours));
            const row = (value: number | null) => ({ [metric]: value });
            expectRows(
              found.cells.map(row),
              expected.cells.map((cell) => row(cell.value)),
            );
            expectRows([row(found.total)], [row(expected.total)]);
          }
        },
      ),
      { numRuns: 25, endOnFailure: true },
    );
  });

  it("divides by the time that has passed, and by none that is to come", async () => {
    const accountId = `account-${++made}`;
    const event = (type: "queued" | "sent", time: string) =>
      ({ account_id: "a", type: `message.${type}`, message_id: "m", occurred_at: time }) as const;
    await ensureAccounts(test.db, [accountId]);
    await storeEvents(test.db, accountId, [
      event("queued", "2025-03-31T00:05:00Z"),
      event("sent", "2025-03-31T00:20:00Z"),
    ]);
    await foldBatch(test.db, accountId, { limit: 100 });
    // Two weeks from a Monday.
    const plan = planHeatmap(
      query(accountId, {
        from: new Date("2025-03-31T00:00:00Z"),
        to: new Date("2025-04-14T00:00:00Z"),
        metrics: ["queue_throughput"],
      }),
    );
    const at = async (now: string) => {
      const { cells, total } = await readHeatmap(test.db, plan, new Date(now));
      return [cells[0], cells[1], total];
    };
    expect(await at("2025-03-31T00:30:00Z")).toEqual([1 / 30, null, 1 / 30]);
    expect(await at("2025-04-01T00:00:00Z")).toEqual([1 / 60, 0, 1 / 60 / 24]);
    expect(await at("2026-01-01T00:00:00Z")).toEqual([1 / 120, 0, 1 / 60 / 24 / 14]);
    expect(plan.hours[0]).toBe(2);
  });

  it("does not know an account that does not exist", async () => {
    await expect(readHeatmap(test.db, planHeatmap(query("nobody", {})))).rejects.toMatchObject({
      code: "account_not_found",
    });
  });
});
