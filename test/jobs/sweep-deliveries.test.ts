import { afterAll, beforeAll, expect, it } from "vitest";
import { sweepDeliveries } from "../../src/jobs/sweep-deliveries.js";
import { addEndpoint, deliveriesOf, finishedRun } from "../support/deliveries.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

it("deliveries are forgotten 90 days after their end, and not before it", async () => {
  const { id } = await addEndpoint(test, "shop", "https://example.com/");
  for (const age of ["91 days", "89 days", null]) {
    const key = await finishedRun(test, "shop", [{ type: "webhook", endpoint_id: id }]);
    await test.pool.query(
      `update deliveries set created_at = now() - interval '100 days', finished_at = now() - $2::interval,
         status = case when $2::interval is null then 'pending'::delivery_status else 'failed' end where run_id = $1`,
      [key.runId, age],
    );
  }
  expect((await test.work(sweepDeliveries, {})).result).toEqual({ deleted: 1 });
  expect((await test.work(sweepDeliveries, {})).result).toEqual({ deleted: 0 });
  expect((await deliveriesOf(test, "shop")).map((row) => row.status).sort()).toEqual(["failed", "pending"]);
});
