import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEgress, hostOf, urlProblem } from "../../src/delivery/egress.js";
import { addressRule } from "../../src/delivery/public-address.js";

const mayConnect = addressRule([]);

describe("only public addresses may be connected to", () => {
  it.each([
    ...["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "223.255.255.254"],
    ...["2606:4700:4700::1111", "2a00:1450:4001:80e::200e"],
    // An IPv6-only host reaches IPv4 so.
    ...["::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
  ])("%s may", (address) => expect(mayConnect(address)).toBe(true));

  it.each([
    ...["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254"],
    ...["172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1"],
    ...["198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
    ...["::", "::1", "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:a9fe:a9fe"],
    ...["::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8"],
    ...["2002:7f00:1::", "2002:808:808::1", "2001:0:808:808::1", "2001:db8::1", "3fff::1", "100::1"],
    ...["fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1", "5f00::1"],
    ...["", "localhost", "127.1", "0x7f000001", "2130706433"],
  ])("%s may not", (address) => expect(mayConnect(address)).toBe(false));

  it("but those that the operator names, in each of their forms", () => {
    const rule = addressRule(["10.1.0.0/16", "fd12:3456::/32"]);
    for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12:3456::1"])
      expect(rule(address)).toBe(true);
    for (const address of ["10.2.0.1", "127.0.0.1", "fd12:3457::1", "::1"]) expect(rule(address)).toBe(false);
  });
});

describe("a webhook's URL", () => {
  const egress = createEgress({ allowHttp: false, ports: [443, 8443], privateNetworks: [] });
  const codeOf = (url: string) => urlProblem(url, egress)?.code;

  it("may lead to a name or a public address on a port that is allowed", () => {
    for (const url of [
      "https://example.com/a?b=c",
      "https://example.com:8443/",
      "https://8.8.8.8/",
      "https://[2606:4700::1]/",
    ])
      expect(codeOf(url)).toBeUndefined();
  });

  it.each([
    ["no url", "invalid_url"],
    ["/path", "invalid_url"],
    ["http://example.com/", "invalid_url"],
    ["ftp://example.com/", "invalid_url"],
    ["file:///etc/passwd", "invalid_url"],
    ["https://user:secret@example.com/", "invalid_url"],
    ["https://example.com/#x", "invalid_url"],
    ["https://example.com:6379/", "port_not_allowed"],
    ["https://example.com:5432/", "port_not_allowed"],
    ["https://example.com:22/", "port_not_allowed"],
    ["https://[::1]/", "address_not_allowed"],
    ["https://[::ffff:127.0.0.1]/", "address_not_allowed"],
    ["https://[0:0:0:0:0:ffff:7f00:1]/", "address_not_allowed"],
    ["https://[64:ff9b::7f00:1]/", "address_not_allowed"],
  ])("%s is refused: %s", (url, code) => expect(codeOf(url)).toBe(code));

  /** Every way in which the WHATWG parser, and so every client, reads an IPv4 address. */
  const spellings = ([a, b, c, d]: number[]) => {
    const [whole, low24, low16] = [
      ((a! * 256 + b!) * 256 + c!) * 256 + d!,
      (b! * 256 + c!) * 256 + d!,
      c! * 256 + d!,
    ];
    const circled = (text: string) =>
      text.replace(/[1-9]/g, (digit) => String.fromCodePoint(0x245f + Number(digit)));
    const wide = (text: string) =>
      text.replace(/[0-9.]/g, (one) => String.fromCodePoint(one.codePointAt(0)! + 0xfee0));
    const hex = (value: number) => `0x${value.toString(16)}`;
    const octal = (value: number) => `0${value.toString(8)}`;
    const plain = `${a}.${b}.${c}.${d}`;
    return [
      ...[plain, `${plain}.`, String(whole), hex(whole), octal(whole), `${a}.${low24}`, `${a}.${b}.${low16}`],
      ...[
        `${hex(a!)}.${octal(b!)}.${c}.${hex(d!)}`,
        circled(plain),
        wide(plain),
        `%3${String(a)[0]}${plain.slice(1)}`,
      ],
    ];
  };

  it("is refused for a private address in every spelling of IPv4", () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const inside = fc.oneof(
      fc.tuple(fc.constantFrom(0, 10, 127, 240, 255), octet, octet, octet),
      fc.tuple(fc.constant(169), fc.constant(254), octet, octet),
      fc.tuple(fc.constant(172), fc.integer({ min: 16, max: 31 }), octet, octet),
      fc.tuple(fc.constant(192), fc.constant(168), octet, octet),
    );
    fc.assert(
      fc.property(inside, (address) => {
        for (const spelling of spellings(address)) {
          const url = `https://${spelling}/`;
          // The spelling is one: it means this very address.
          expect([spelling, hostOf(new URL(url))]).toEqual([spelling, address.join(".")]);
          expect(codeOf(url)).toBe("address_not_allowed");
        }
      }),
    );
  });
});
