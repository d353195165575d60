import { afterAll, beforeAll, expect, it } from "vitest";
import { openTestDb, type TestDb } from "../../support/postgres.js";
import { simulate } from "../../support/simulated-year.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

it("F23 two schedulers go through a year in four zones: what the previews said fires, each slot once", async () => {
  const slots = await simulate(test, {
    from: new Date("2028-01-01T00:00:00Z"),
    to: new Date("2029-01-01T00:00:00Z"),
    crons: ["30 2 * * *", "0 */6 * * *", "*/30 1-3 * * 0", "15 0 L,29 * *", "5 8 1 1,4,7,10 *", "0 0 * * 1"],
    seed: Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31)),
  });
  expect(slots).toBeGreaterThan(8_000);
}, 600_000);
