import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { claimDeliveries } from "../../src/db/queries/deliveries.js";
import { findDueDeliveries } from "../../src/jobs/find-due-deliveries.js";
import { addEndpoint, finishedRun } from "../support/deliveries.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());
beforeEach(() => test.pool.query("truncate deliveries, webhook_endpoints"));

const url = "https://example.com/";
const find = async () => {
  const { result, enqueued } = await test.work(findDueDeliveries, {});
  return { result, asked: enqueued.map(({ payload, options }) => ({ payload, options })) };
};

describe("what is due", () => {
  it("is asked for once a target, and again until somebody has taken it", async () => {
    const { id, target } = await addEndpoint(test, "shop", url);
    const notify = [
      { type: "webhook", endpoint_id: id },
      { type: "email", to: ["a@example.com", "b@example.com"] },
    ];
    await finishedRun(test, "shop", notify);
    await finishedRun(test, "shop", notify);
    const { result, asked } = await find();
    expect(result).toEqual({ due: 2, stuck: 0 });
    expect(asked).toEqual(
      expect.arrayContaining([
        { payload: target, options: {} },
        { payload: { accountId: "shop", endpointId: null }, options: {} },
      ]),
    );
    expect((await find()).result).toEqual({ due: 2, stuck: 0 });
    await claimDeliveries(test.db, target, { limit: 9, leaseMs: 60_000 });
    expect((await find()).asked.map(({ payload }) => payload)).toEqual([
      { accountId: "shop", endpointId: null },
    ]);
  });

  it("is what a worker has not written down before its lease was over, too", async () => {
    const { id, target } = await addEndpoint(test, "shop", url);
    await finishedRun(test, "shop", [{ type: "webhook", endpoint_id: id }]);
    await claimDeliveries(test.db, target, { limit: 1, leaseMs: 0 });
    expect((await find()).result).toEqual({ due: 1, stuck: 0 });
    const [again] = await claimDeliveries(test.db, target, { limit: 1, leaseMs: 60_000 });
    expect(again!.attempts).toBe(2);
  });

  it("long since gets a job of its own", async () => {
    const { id, target } = await addEndpoint(test, "shop", url);
    await finishedRun(test, "shop", [{ type: "webhook", endpoint_id: id }]);
    await test.pool.query("update deliveries set next_attempt_at = now() - interval '1 minute'");
    const { result, asked } = await find();
    expect(result).toEqual({ due: 1, stuck: 1 });
    expect(asked[0]!.payload).toEqual(target);
    expect(asked[0]!.options).toEqual({
      dedupe: false,
      id: expect.stringMatching(/^deliver-.*-c2hvcA-\d+$/),
    });
    expect((await find()).asked[0]!.options!.id).toBe(asked[0]!.options!.id);
  });

  it("is nothing where an endpoint is left alone, or nothing is left", async () => {
    const { id } = await addEndpoint(test, "shop", url);
    await finishedRun(test, "shop", [{ type: "webhook", endpoint_id: id }]);
    await test.pool.query("update webhook_endpoints set resume_at = now() + interval '1 minute'");
    expect((await find()).result).toEqual({ due: 0, stuck: 0 });
    await test.pool.query("update webhook_endpoints set resume_at = null");
    await test.pool.query("update deliveries set status = 'delivered'");
    expect((await find()).result).toEqual({ due: 0, stuck: 0 });
  });
});
