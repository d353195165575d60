import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DeliveryFailure } from "../../src/delivery/delivery-failure.js";
import { createEgress } from "../../src/delivery/egress.js";
import { createMailer, mailTimeouts } from "../../src/delivery/mailer.js";
import { postWebhook } from "../../src/delivery/post-webhook.js";
import { sendDeliveries } from "../../src/jobs/send-deliveries.js";
import { addEndpoint, deliveriesOf, finishedRun } from "../support/deliveries.js";
import { startHalfOpenProxy } from "../support/half-open-proxy.js";
import { startMailServer } from "../support/mail-server.js";
import { startNameServer } from "../support/name-server.js";
import { startReceiver } from "../support/receiver.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

/** Short, so that the test is; what ends a call is the same. */
const BOUNDS = { connectMs: 150, totalMs: 400 };
/** Beyond its bound a call may take what a busy machine takes. */
const SLACK_MS = 20_000;

const never = new AbortController().signal;
const codeWithin = async (boundMs: number, sending: Promise<unknown>): Promise<string> => {
  const startedAt = performance.now();
  const code = await sending.then(
    () => "sent",
    (error: DeliveryFailure) => error.code,
  );
  expect(performance.now() - startedAt).toBeLessThan(boundMs + SLACK_MS);
  return code;
};

describe("F13: the other side is half open", () => {
  /** 0: it accepts and is silent; the others fall silent in the middle of the request, or of the answer. */
  it.each([0, 20, 1_000_000])("a webhook ends within its time-out after %i bytes", async (bytes) => {
    await using receiver = await startReceiver();
    receiver.answer(() => {});
    await using proxy = await startHalfOpenProxy(receiver.port, { swallowAfter: bytes });
    const egress = createEgress(
      { allowHttp: true, ports: [proxy.port], privateNetworks: ["127.0.0.1/32"] },
      BOUNDS,
    );
    const url = new URL(`http://127.0.0.1:${proxy.port}/`);
    expect(
      await codeWithin(BOUNDS.totalMs, postWebhook(url, { headers: {}, body: "{}" }, egress, never)),
    ).toBe("timeout");
    await expect.poll(() => proxy.open()).toBe(0);
  });

  it("one that does not agree on TLS, and a name server that is silent, end with the time to connect", async () => {
    await using receiver = await startReceiver();
    await using proxy = await startHalfOpenProxy(receiver.port, { swallowAfter: 0 });
    await using names = await startNameServer(() => undefined);
    const egress = createEgress(
      { allowHttp: false, ports: [proxy.port], privateNetworks: ["127.0.0.1/32"] },
      { ...BOUNDS, nameServers: [names.address] },
    );
    for (const host of ["127.0.0.1", "silent.test"]) {
      const url = new URL(`https://${host}:${proxy.port}/`);
      const sending = postWebhook(url, { headers: {}, body: "{}" }, egress, never);
      expect(await codeWithin(BOUNDS.connectMs, sending)).toBe("connect_timeout");
    }
    await expect.poll(() => proxy.open()).toBe(0);
  });

  it.each([0, 100, 900])(
    "a mail ends within its time-out after %i bytes, and the next one is free to go",
    async (bytes) => {
      await using server = await startMailServer();
      await using proxy = await startHalfOpenProxy(server.port, { swallowAfter: bytes });
      const mailer = createMailer(
        { smtpUrl: `smtp://127.0.0.1:${proxy.port}`, from: "a@shop.example", attachmentMaxBytes: 0 },
        { ...mailTimeouts, connectMs: 150, silenceMs: 300, totalMs: 1_000 },
      );
      const mail = { id: "1", to: "b@example.com", subject: "s", text: "x".repeat(5_000), html: "" };
      expect(await codeWithin(1_000, mailer.send(mail, never))).toMatch(/timeout|mail_server_failed/);
      await expect.poll(() => proxy.open()).toBe(0);
      proxy.mend();
      await expect.poll(() => mailer.isFree()).toBe(true);
      await mailer.send(mail, never);
      expect(server.mails.at(-1)!.envelope.to).toEqual(["b@example.com"]);
    },
  );

  it("the delivery is put off, its job ends, and what is sent once the other side answers again is sent", async () => {
    await using receiver = await startReceiver();
    await using proxy = await startHalfOpenProxy(receiver.port, { swallowAfter: 0 });
    const { id, target } = await addEndpoint(test, "half-open", `http://127.0.0.1:${proxy.port}/`);
    const egress = createEgress(
      { allowHttp: true, ports: [proxy.port], privateNetworks: ["127.0.0.1/32"] },
      BOUNDS,
    );
    await finishedRun(test, "half-open", [{ type: "webhook", endpoint_id: id }]);
    const { result } = await test.work(sendDeliveries, target, { egress });
    expect(result).toMatchObject({ failed: 1 });
    const [row] = await deliveriesOf(test, "half-open");
    expect(row).toMatchObject({ status: "pending", log: [{ code: "timeout" }] });
    proxy.mend();
    await test.pool.query("update deliveries set next_attempt_at = now() where account_id = 'half-open'");
    await test.pool.query("update webhook_endpoints set resume_at = null");
    expect((await test.work(sendDeliveries, target, { egress })).result).toMatchObject({ delivered: 1 });
    expect(receiver.received).toHaveLength(1);
  });
});
