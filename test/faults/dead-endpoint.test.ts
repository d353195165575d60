import { afterAll, beforeAll, expect, it } from "vitest";
import { openContext } from "../../src/context.js";
import { insertDelivery } from "../../src/db/queries/deliveries.js";
import { sendDeliveries } from "../../src/jobs/send-deliveries.js";
import { startWorkers } from "../../src/workers/start-workers.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { addEndpoint } from "../support/deliveries.js";
import { silentLog } from "../support/postgres.js";
import { type Canary, startCanary, startReceiver } from "../support/receiver.js";
import { openWork } from "../support/work.js";

let app: TestApp;
let canary: Canary;
beforeAll(async () => {
  app = await startTestApp();
  canary = await startCanary();
});
afterAll(async () => {
  await app.close();
  await canary[Symbol.asyncDispose]();
});

it("a hundred deliveries to an endpoint that swallows everything delay no other's", async () => {
  await using receiver = await startReceiver();
  const work = await openWork({
    test: { ...app.context, url: app.databaseUrl, close: async () => {} },
    artifactRoot: "",
  });
  const dead = await addEndpoint(work, "dead", `http://127.0.0.1:${canary.port}/`);
  const alive = await addEndpoint(work, "alive", receiver.url);
  const webhooks = {
    allowHttp: true,
    ports: [canary.port, receiver.port],
    privateNetworks: ["127.0.0.1/32"],
  };
  const config = {
    ...app.context.config,
    webhooks,
    workers: { ...app.context.config.workers, concurrency: 1 },
  };
  const context = await openContext(config, { process: "worker", log: silentLog });
  const workers = await startWorkers(context);
  try {
    for (let n = 0; n < 100; n++) await insertDelivery(app.context.db, dead.target, "endpoint.test", {});
    await app.context.queues.enqueue(sendDeliveries, dead.target);
    await expect.poll(() => canary.connections.length).toBeGreaterThan(0);
    for (let n = 0; n < 10; n++) {
      await insertDelivery(app.context.db, alive.target, "endpoint.test", { n });
      await app.context.queues.enqueue(sendDeliveries, alive.target);
      await expect.poll(() => receiver.received.length, { timeout: 10_000 }).toBe(n + 1);
    }
    const attempts = async (endpointId: string) => {
      const { rows } = await app.context.pool.query<{ status: string; tried: number }>(
        "select status, sum(attempts)::integer as tried from deliveries where endpoint_id = $1 group by status",
        [endpointId],
      );
      return rows;
    };
    await expect.poll(() => attempts(alive.id)).toEqual([{ status: "delivered", tried: 10 }]);
    // The first four of its attempts take 15 s; then it is left alone, and tried by one.
    const [{ status, tried }] = (await attempts(dead.id)) as [{ status: string; tried: number }];
    expect(status).toBe("pending");
    expect(tried).toBeGreaterThanOrEqual(4);
    expect(tried).toBeLessThan(10);
  } finally {
    await workers.drain(0);
    await context[Symbol.asyncDispose]();
  }
});
