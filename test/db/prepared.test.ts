import { sql } from "kysely";
import { afterAll, beforeAll, expect, it } from "vitest";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { newEvent, storeEvents } from "../support/work.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

it("a connection parses the long statements once, and plans them at most a few times", async () => {
  await test.db.connection().execute(async (connection) => {
    const kept = async () =>
      (
        await sql<{ statement: string; runs: number; planned: number }>`
          select left(ltrim(statement), 20) as statement, (generic_plans + custom_plans)::integer as runs,
                 custom_plans::integer as planned
          from pg_prepared_statements order by length(statement)`.execute(connection)
      ).rows;
    for (let index = 0; index < 12; index++) {
      await storeEvents(test, [newEvent("shop", `m${index}`, "sent", "2025-03-01T09:00:00Z")]);
      await foldBatch(connection, "shop", { limit: 10 });
      await settleRollups(connection, "shop");
    }
    // The fold, and the settling of messages and of conversations.
    const statements = await kept();
    expect(statements).toHaveLength(3);
    for (const { runs, planned } of statements) {
      expect(runs).toBe(12);
      expect(planned).toBeLessThan(8);
    }
    await sql`select 1`.execute(connection);
    expect(await kept()).toHaveLength(3);
  });
});
