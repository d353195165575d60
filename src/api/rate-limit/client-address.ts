import type { Socket } from "node:net";
import { isIPv6 } from "node:net";

/**
 * Whom a request without a key is counted for: the address of its connection, never what a header says. One IPv6 client
 * owns 2^64 addresses, so the network counts.
 */
export function clientAddress({ remoteAddress }: Pick<Socket, "remoteAddress">): string {
  if (remoteAddress === undefined) return "unknown";
  const mapped = /^::ffff:([\d.]+)$/i.exec(remoteAddress)?.[1];
  if (mapped !== undefined) return mapped;
  return isIPv6(remoteAddress) ? networkOf(remoteAddress.split("%", 1)[0]!) : remoteAddress;
}

function networkOf(address: string): string {
  const groups = (half = "") => half.split(":").filter(Boolean);
  const [left, right] = address.toLowerCase().split("::");
  const [head, tail] = [groups(left), groups(right)];
  const zeros = Array<string>(8 - head.length - tail.length).fill("0");
  return `${[...head, ...zeros, ...tail].slice(0, 4).join(":")}::/64`;
}
