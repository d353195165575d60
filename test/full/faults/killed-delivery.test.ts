import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { ACCOUNT, type Installation, startInstallation } from "../../e2e/installation.js";
import { until } from "../../e2e/support.js";
import { type Receiver, startReceiver, verifySignature } from "../../support/receiver.js";

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let service: Installation;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  service = await startInstallation({
    queues: "postgres",
    processes: ["api", "scheduler", "worker"],
    env: {
      WEBHOOK_ALLOW_HTTP: "true",
      WEBHOOK_PORTS: String(receiver.port),
      WEBHOOK_PRIVATE_NETWORKS: "127.0.0.1/32",
      JOB_LOCK_MS: "1000",
      JOB_STALLED_CHECK_MS: "500",
    },
  });
  await service.seedMessages(10);
});
afterAll(async () => {
  await service?.stop();
  await receiver[Symbol.asyncDispose]();
});

it("F01: a webhook whose worker is killed before it can write down the answer is sent again under the same id", async () => {
  const made = await service.api.json<{ id: string; secret: string }>(
    "POST",
    "/analytics/webhook-endpoints",
    {
      account_id: ACCOUNT,
      url: receiver.url,
    },
  );
  const victim = service.process("worker");
  receiver.answer(async (response) => {
    // Taken, as far as the receiver can tell, and the worker never hears of it.
    if (receiver.received.length === 1) {
      victim.child.kill("SIGKILL");
      await victim.ended;
    }
    response.writeHead(204).end();
  });
  const { id } = await service.api.json<{ id: string }>("POST", "/analytics/reports", {
    account_id: ACCOUNT,
    template: "message-log",
    format: "csv",
    from: "2026-01-01T00:00:00Z",
    to: "2026-02-01T00:00:00Z",
    notify: [{ type: "webhook", endpoint_id: made.id }],
  });
  expect(await victim.ended).toBe("SIGKILL");
  await service.add("worker");
  // As if the lease of the dead worker were over.
  await service.test.pool.query("update deliveries set next_attempt_at = now()");
  const [delivery] = await until("it is delivered", async () => {
    const { data } = await service.api.json<{ data: Record<string, unknown>[] }>(
      "GET",
      `/analytics/deliveries?account_id=${ACCOUNT}&run_id=${id}&status=delivered`,
    );
    return data.length > 0 && data;
  });
  expect(delivery).toMatchObject({ attempts: 2, last_attempt: { attempt: 2, outcome: "delivered" } });
  const { log } = await service.api.json<{ log: Record<string, unknown>[] }>(
    "GET",
    `/analytics/deliveries/${delivery!.id}`,
  );
  expect(log.map(({ attempt, outcome }) => [attempt, outcome])).toEqual([
    [1, undefined],
    [2, "delivered"],
  ]);
  expect(receiver.received).toHaveLength(2);
  expect(receiver.received.map(({ headers }) => headers["webhook-id"])).toEqual([delivery!.id, delivery!.id]);
  expect(receiver.received[1]!.body).toBe(receiver.received[0]!.body);
  for (const got of receiver.received) verifySignature(made.secret, got);
  // The file was built once, and by the one who is dead.
  expect(await service.row(id)).toMatchObject({ status: "succeeded", attempt: 1, fence: 1 });
});
