import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { DeliveryFailure } from "../../src/delivery/delivery-failure.js";
import { createEgress, type Egress } from "../../src/delivery/egress.js";
import { postWebhook } from "../../src/delivery/post-webhook.js";
import { startNameServer } from "../support/name-server.js";
import { type Canary, startCanary, startReceiver } from "../support/receiver.js";

/** Listens where nobody may get to: on loopback, in both families. */
let canaries: Canary[];
beforeEach(async () => {
  canaries = [await startCanary("127.0.0.1"), await startCanary("::1")];
});
afterEach(async () => {
  for (const canary of canaries) await canary[Symbol.asyncDispose]();
});
const expectUntouched = () =>
  expect(canaries.map((canary) => [canary.connections.length, canary.bytes()])).toEqual([
    [0, 0],
    [0, 0],
  ]);

/** As in an installation that allows most: every port there is a canary on. */
const egress = (more: Partial<Egress> = {}) =>
  createEgress(
    { allowHttp: true, ports: [80, 443, ...canaries.map(({ port }) => port)], privateNetworks: [] },
    { connectMs: 2_000, totalMs: 4_000, ...more },
  );
const post = (url: string, to: Egress) =>
  postWebhook(new URL(url), { headers: {}, body: '{"secret":1}' }, to, new AbortController().signal);
const codeOf = (sending: Promise<unknown>): Promise<string> =>
  sending.then(
    () => "sent",
    (error: DeliveryFailure) => error.code,
  );

describe("F34: a webhook that is to lead inside", () => {
  it("by its address is refused before a connection, in every form of it", async () => {
    const [v4, v6] = canaries.map(({ port }) => port);
    const hosts = [
      ...[
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0x7f.1",
        "127.0.1",
        "127.0.0.1.",
      ],
      ...[
        "①②⑦.⓪.⓪.①",
        "１２７.0.0.1",
        "%31%32%37.0.0.1",
        "0.0.0.0",
        "0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
      ],
      ...["[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[::ffff:0:7f00:1]", "[::]"],
    ];
    for (const host of hosts)
      expect([host, await codeOf(post(`http://${host}:${v4}/`, egress()))]).toEqual([
        host,
        "address_not_allowed",
      ]);
    for (const host of ["[::1]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fd00::1]"])
      expect([host, await codeOf(post(`http://${host}:${v6}/`, egress()))]).toEqual([
        host,
        "address_not_allowed",
      ]);
    for (const host of ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "10.0.0.1"])
      expect([host, await codeOf(post(`http://${host}/`, egress()))]).toEqual([host, "address_not_allowed"]);
    expectUntouched();
  });

  it("by its port is refused, whatever the address", async () => {
    for (const port of [22, 25, 5432, 6379, 9200, 11211])
      expect(await codeOf(post(`https://example.com:${port}/`, egress()))).toBe("port_not_allowed");
  });

  it("by a name is refused, also where only one of its addresses is inside", async () => {
    const answers: Record<string, string[]> = {
      "inside.test": ["127.0.0.1"],
      "inside6.test": ["0:0:0:0:0:0:0:1"],
      "mapped.test": ["0:0:0:0:0:ffff:7f00:1"],
      "metadata.test": ["169.254.169.254"],
      "mixed.test": ["8.8.8.8", "127.0.0.1"],
      "mixed6.test": ["8.8.8.8", "0:0:0:0:0:0:0:1"],
      "nobody.test": [],
    };
    const names = await startNameServer((name) => answers[name] ?? []);
    onTestFinished(() => names[Symbol.asyncDispose]());
    const to = egress({ nameServers: [names.address] });
    for (const name of Object.keys(answers))
      for (const { port } of canaries)
        expect([name, await codeOf(post(`http://${name}:${port}/`, to))]).toEqual([
          name,
          name === "nobody.test" ? "unknown_host" : "address_not_allowed",
        ]);
    expect(await codeOf(post(`http://localhost:${canaries[0]!.port}/`, to))).not.toBe("sent");
    expectUntouched();
  });

  it("by a name that changes its mind gains nothing: it is asked once, and what was checked is connected", async () => {
    // Public when it is looked at, inside ever after, and the other way round.
    const turns: Record<string, number> = {};
    const names = await startNameServer((name) => {
      turns[name] = (turns[name] ?? 0) + 1;
      const isFirst = turns[name] <= 2; // its A and its AAAA
      return [isFirst === name.startsWith("turns") ? "127.0.0.2" : "127.0.0.1"];
    });
    onTestFinished(() => names[Symbol.asyncDispose]());
    const connected: string[] = [];
    const to = egress({
      nameServers: [names.address],
      connectMs: 400,
      // One stands for a public address; nobody answers there.
      mayConnect: (address) => {
        connected.push(address);
        return address === "127.0.0.2";
      },
    });
    const { port } = canaries[0]!;
    const code = await codeOf(post(`http://turns.test:${port}/`, to));
    expect(["connect_timeout", "connect_failed"]).toContain(code);
    expect(connected).toEqual(["127.0.0.2"]);
    expect(names.questions.sort()).toEqual(["turns.test A", "turns.test AAAA"]);
    expect(await codeOf(post(`http://back.test:${port}/`, to))).toBe("address_not_allowed");
    expectUntouched();
  });

  it("is found out by the address that was connected, if all else had failed", async () => {
    const { port } = canaries[0]!;
    let looks = 0;
    const to = egress({ mayConnect: () => ++looks <= 2 });
    expect(await codeOf(post(`http://127.0.0.1:${port}/`, to))).toBe("address_not_allowed");
    expect(looks).toBe(3);
    await expect.poll(() => canaries[0]!.connections[0]?.destroyed).toBe(true);
    expect(canaries[0]!.bytes()).toBe(0);
  });

  it("by a redirect ends there", async () => {
    await using receiver = await startReceiver();
    const to = createEgress({
      allowHttp: true,
      ports: [receiver.port, canaries[0]!.port, 80],
      privateNetworks: ["127.0.0.1/32"],
    });
    for (const [status, location] of [
      [301, "http://169.254.169.254/latest/meta-data/"],
      [302, `http://127.0.0.1:${canaries[0]!.port}/`],
      [307, `http://127.0.0.1:${canaries[0]!.port}/`],
      [308, "//127.0.0.1/"],
    ] as const) {
      receiver.answer((response) => void response.writeHead(status, { location }).end());
      expect(await codeOf(post(receiver.url, to))).toBe("redirected");
    }
    expect(receiver.received).toHaveLength(4);
    expectUntouched();
  });
});
