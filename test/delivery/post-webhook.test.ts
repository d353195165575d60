import { once } from "node:events";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import type { DeliveryFailure } from "../../src/delivery/delivery-failure.js";
import { createEgress, type Egress } from "../../src/delivery/egress.js";
import { postWebhook } from "../../src/delivery/post-webhook.js";
import { makeCertificate } from "../support/certificate.js";
import { startNameServer } from "../support/name-server.js";
import { startReceiver } from "../support/receiver.js";

const egressTo = (port: number, more: Partial<Egress> = {}) =>
  createEgress({ allowHttp: true, ports: [port], privateNetworks: ["127.0.0.1/32"] }, more);
const post = (url: string, egress: Egress, signal = new AbortController().signal) =>
  postWebhook(new URL(url), { headers: { "webhook-id": "1" }, body: '{"text":"grüße"}' }, egress, signal);
const failure = (sending: Promise<unknown>): Promise<Partial<DeliveryFailure>> =>
  sending.then(
    () => ({ code: "sent" }),
    (error: DeliveryFailure) => ({
      code: error.code,
      status: error.status,
      retryAfterMs: error.retryAfterMs,
    }),
  );

async function receiver() {
  const started = await startReceiver();
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}

describe("posting a webhook", () => {
  it("sends the body once and resolves with the status", async () => {
    const { url, port, received, answer } = await receiver();
    answer((response) => void response.writeHead(201).end("thanks"));
    expect(await post(`${url}?a=b%20c`, egressTo(port))).toBe(201);
    expect(received).toMatchObject([
      {
        path: "/hook?a=b%20c",
        json: { text: "grüße" },
        headers: { host: `127.0.0.1:${port}`, "webhook-id": "1" },
      },
    ]);
  });

  it("rejects with the status of anything but 2xx, and with how long to wait", async () => {
    const { url, port, answer } = await receiver();
    answer((response) => void response.writeHead(503, { "retry-after": "7" }).end("secret words"));
    expect(await failure(post(url, egressTo(port)))).toEqual({
      code: "http_status",
      status: 503,
      retryAfterMs: 7_000,
    });
    answer((response) => void response.writeHead(404).end());
    expect(await failure(post(url, egressTo(port)))).toMatchObject({ code: "http_status", status: 404 });
  });

  it("lets no more than the beginning of an answer in, and takes the status for what counts", async () => {
    const { url, port, answer } = await receiver();
    let left = false;
    answer((response) => {
      response.writeHead(200);
      const pour = () => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384)));
      };
      response.on("drain", pour).on("close", () => {
        left = true;
      });
      pour();
    });
    expect(await post(url, egressTo(port))).toBe(200);
    await expect.poll(() => left).toBe(true);
    // One that has said 200 and never ends has taken it.
    answer((response) => void response.writeHead(200).write("and"));
    expect(await post(url, egressTo(port, { totalMs: 300 }))).toBe(200);
  });

  it("ends with the signal's reason when it is told to", async () => {
    const { url, port, received, answer } = await receiver();
    answer(() => {});
    const told = new AbortController();
    const sending = post(url, egressTo(port), told.signal);
    const outcome = expect(sending).rejects.toThrow("told so");
    await expect.poll(() => received.length).toBe(1);
    told.abort(new Error("told so"));
    await outcome;
  });

  it("says that nobody listens, or that the other side hung up", async () => {
    const { url, port, answer } = await receiver();
    answer((response) => void response.socket!.destroy());
    expect(await failure(post(url, egressTo(port)))).toMatchObject({ code: "connection_lost" });
    answer((response) => void response.socket!.end("SSH-2.0-OpenSSH_9.2\r\n"));
    expect(await failure(post(url, egressTo(port)))).toMatchObject({ code: "connection_lost" });
    const free = await startReceiver();
    await free[Symbol.asyncDispose]();
    expect(await failure(post(free.url, egressTo(free.port)))).toMatchObject({ code: "connect_failed" });
  });
});

describe("over TLS", () => {
  it("the name of the URL must be vouched for, not that of the address", async () => {
    const { cert, key } = await makeCertificate("hook.test");
    const bodies: string[] = [];
    const server = createHttpsServer({ cert, key }, async (request, response) => {
      for await (const chunk of request) bodies.push(String(chunk));
      response.writeHead(204).end();
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    await using names = await startNameServer(() => ["127.0.0.1"]);
    try {
      const { port } = server.address() as AddressInfo;
      const known = { nameServers: [names.address], certificateAuthority: cert };
      expect(await post(`https://hook.test:${port}/`, egressTo(port, known))).toBe(204);
      for (const [host, trusted] of [
        ["other.test", known],
        ["127.0.0.1", known],
        ["hook.test", { nameServers: [names.address] }],
      ] as const)
        expect(await failure(post(`https://${host}:${port}/`, egressTo(port, trusted)))).toMatchObject({
          code: "tls_failed",
        });
      expect(bodies).toEqual(['{"text":"grüße"}']);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
