import { getEventListeners, once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { startDeadline } from "../src/deadline.js";
import { createEgress } from "../src/delivery/egress.js";
import { postWebhook } from "../src/delivery/post-webhook.js";
import { connectS3, defaultLimits } from "../src/exports/artifacts/s3-client.js";
import { whileCollecting } from "./support/collect-garbage.js";

/** Only the signal is left of the deadline, and only its listener of the signal. */
const fired = (...given: Parameters<typeof startDeadline>) => once(startDeadline(...given).signal, "abort");
const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

describe("a deadline", () => {
  it("fires though nobody holds it and the garbage collector runs", async () => {
    const { signal } = new AbortController();
    const [event] = (await whileCollecting(fired(200, [signal]))) as [Event];
    expect((event.target as AbortSignal).reason).toMatchObject({ message: "not done within 200 ms" });
  });

  it("tells whether it was time, or whoever else came first", () => {
    vi.useFakeTimers();
    try {
      const caller = new AbortController();
      const late = new Error("late");
      using deadline = startDeadline(100, [undefined, caller.signal], () => late);
      vi.advanceTimersByTime(100);
      caller.abort(new Error("told so"));
      expect(deadline.isLate()).toBe(true);
      expect(deadline.signal.reason).toBe(late);
      using told = startDeadline(100, [new AbortController().signal, caller.signal]);
      vi.advanceTimersByTime(100);
      expect(told.isLate()).toBe(false);
      expect(told.signal.reason).toBe(caller.signal.reason);
    } finally {
      vi.useRealTimers();
    }
  });

  it("leaves neither timer nor listener, and does not fire once its work is over", () => {
    const caller = new AbortController();
    const before = timers();
    const deadlines = Array.from({ length: 50 }, () => startDeadline(60_000, [caller.signal]));
    expect(getEventListeners(caller.signal, "abort")).toHaveLength(50);
    expect(timers()).toBe(before + 50);
    for (const deadline of deadlines) deadline[Symbol.dispose]();
    expect(getEventListeners(caller.signal, "abort")).toEqual([]);
    expect(timers()).toBe(before);
    caller.abort();
    expect(deadlines.filter(({ signal }) => signal.aborted)).toEqual([]);
  });
});

/** So many, and the function is compiled by what keeps no variable that nobody reads any more. */
const UNTIL_COMPILED = 5_000;

describe("what waits while the garbage collector runs ends in its time", () => {
  it("a call of the file store", async () => {
    const { signal } = new AbortController();
    const s3 = connectS3({ prefix: "" } as Parameters<typeof connectS3>[0], defaultLimits);
    const options = { signal, withinMs: 500 };
    for (let i = 0; i < UNTIL_COMPILED; i++) await s3.call(async () => {}, options);
    const call = s3.call(() => new Promise(() => {}), options);
    await expect(whileCollecting(call)).rejects.toMatchObject({ code: "file_store_unavailable" });
  });

  it.each([
    ["https", "connect_timeout"],
    ["http", "timeout"],
  ])("a webhook over %s to a server that never answers", async (scheme, code) => {
    await using server = createServer((socket) => socket.resume());
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    const egress = createEgress(
      { allowHttp: true, ports: [port], privateNetworks: ["127.0.0.1/32"] },
      { connectMs: 150, totalMs: 300 },
    );
    const url = new URL(`${scheme}://127.0.0.1:${port}/`);
    const sending = postWebhook(url, { headers: {}, body: "{}" }, egress, new AbortController().signal);
    await expect(whileCollecting(sending)).rejects.toMatchObject({ code });
  });
});
