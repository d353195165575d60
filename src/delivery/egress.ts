import { isIP } from "node:net";
import { type AddressRule, addressRule } from "./public-address.js";

/** Where webhooks may go: what the operator allows. */
export interface EgressSettings {
  allowHttp: boolean;
  ports: readonly number[];
  /** CIDR; addresses in them count as public. */
  privateNetworks: readonly string[];
}

export interface Egress extends EgressSettings {
  mayConnect: AddressRule;
  /** To find the addresses, connect and agree on TLS. */
  connectMs: number;
  /** All of one exchange. */
  totalMs: number;
  /** Asked instead of those of the system. */
  nameServers: readonly string[] | undefined;
  /** Trusted instead of the system's. */
  certificateAuthority: string | undefined;
}

const CONNECT_MS = 5_000;
const TOTAL_MS = 15_000;

export const createEgress = (settings: EgressSettings, more: Partial<Egress> = {}): Egress => ({
  ...settings,
  mayConnect: addressRule(settings.privateNetworks),
  connectMs: CONNECT_MS,
  totalMs: TOTAL_MS,
  nameServers: undefined,
  certificateAuthority: undefined,
  ...more,
});

/** The host of a URL as resolvers and sockets want it: an IPv6 address without its brackets. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "");

export const portOf = (url: URL): number => Number(url.port || (url.protocol === "https:" ? 443 : 80));

export interface UrlProblem {
  code: string;
  message: string;
}

/**
 * What is wrong with a webhook's URL as far as it can be told without asking anybody. `URL` has turned every spelling of an
 * IPv4 address (`0x7f.1`, `2130706433`, `①②⑦.1`) into the usual one by then.
 */
export function urlProblem(text: string, egress: Egress): UrlProblem | undefined {
  if (!URL.canParse(text)) return { code: "invalid_url", message: "must be an absolute URL" };
  const url = new URL(text);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && egress.allowHttp))
    return { code: "invalid_url", message: `must begin with ${egress.allowHttp ? "http(s)" : "https"}://` };
  if (url.username || url.password)
    return { code: "invalid_url", message: "must not hold a user name or password" };
  if (url.hash) return { code: "invalid_url", message: "must not hold a fragment" };
  if (!egress.ports.includes(portOf(url)))
    return { code: "port_not_allowed", message: `must use one of the ports ${egress.ports.join(", ")}` };
  const host = hostOf(url);
  if (isIP(host) !== 0 && !egress.mayConnect(host))
    return { code: "address_not_allowed", message: "must lead to a public address" };
  return undefined;
}
