import { BlockList, isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** Whether an address may be connected to. */
export type AddressRule = (address: string) => boolean;

/**
 * Admits public addresses, and those of the private networks (CIDR) that the operator names. It is a list of what is
 * allowed, so that a special range nobody thought of is refused.
 */
export function addressRule(privateNetworks: readonly string[]): AddressRule {
  const networks = new BlockList();
  for (const network of privateNetworks) {
    const [address = "", prefix] = network.split("/");
    networks.addSubnet(address, Number(prefix), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return (address) => {
    if (isIP(address) === 0) return false;
    const parsed = unwrapped(ipaddr.parse(address));
    return isPublic(parsed) || networks.check(parsed.toString(), parsed.kind());
  };
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

function isPublic(address: Address): boolean {
  if (address.range() !== "unicast") return false;
  // 2000::/3 is all that has been given out; what else looks like unicast belongs to nobody.
  return address.kind() === "ipv4" || (address as ipaddr.IPv6).parts[0]! >> 13 === 1;
}

/**
 * The IPv4 address that is really meant, in an IPv6 form that the system (`::ffff:0:0/96`) or a gateway of the network
 * (`64:ff9b::/96`, where there is IPv6 only) takes for it.
 */
function unwrapped(address: Address): Address {
  if (address.kind() === "ipv4") return address;
  const { parts } = address as ipaddr.IPv6;
  const isMapped = parts.slice(0, 5).every((part) => part === 0) && parts[5] === 0xffff;
  const isNat64 = parts[0] === 0x64 && parts[1] === 0xff9b && parts.slice(2, 6).every((part) => part === 0);
  if (!isMapped && !isNat64) return address;
  return new ipaddr.IPv4(parts.slice(6).flatMap((part) => [part >> 8, part & 0xff]));
}
