import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { startDeadline } from "../deadline.js";
import { DeliveryFailure } from "./delivery-failure.js";
import { type Egress, hostOf, portOf, urlProblem } from "./egress.js";

/**
 * The only way out for webhooks: a socket to a host that users of the API have named. The name is resolved once, by DNS
 * alone; every address must be allowed, and the connection is made to these addresses, so that a name which changes its
 * mind in between (DNS rebinding) gains nothing. The address that is connected in the end is looked at once more before a
 * byte is sent. Rejects with a `DeliveryFailure`, or the signal's reason.
 */
export async function connectSafely(url: URL, egress: Egress, signal: AbortSignal): Promise<Socket> {
  const problem = urlProblem(url.href, egress);
  if (problem) throw new DeliveryFailure(problem.code);
  using deadline = startDeadline(egress.connectMs, [signal]);
  const stop = deadline.signal;
  try {
    const addresses = await allowedAddresses(hostOf(url), egress, stop);
    const socket = await openTcp(hostOf(url), portOf(url), addresses, stop);
    if (!egress.mayConnect(socket.remoteAddress ?? "")) {
      socket.destroy();
      throw new DeliveryFailure("address_not_allowed");
    }
    return url.protocol === "https:" ? await secured(socket, hostOf(url), egress, stop) : socket;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (deadline.isLate()) throw new DeliveryFailure("connect_timeout", { cause: error });
    throw error;
  }
}

async function allowedAddresses(host: string, egress: Egress, signal: AbortSignal): Promise<string[]> {
  const addresses = isIP(host) === 0 ? await resolve(host, egress, signal) : [host];
  // All of them: a name that also leads inside is up to something.
  if (!addresses.every(egress.mayConnect)) throw new DeliveryFailure("address_not_allowed");
  return addresses;
}

/** Not `dns.lookup`: that takes one of the process's few threads for as long as the name servers are silent. */
async function resolve(host: string, egress: Egress, signal: AbortSignal): Promise<string[]> {
  const resolver = new Resolver({ timeout: egress.connectMs / 2, tries: 2 });
  if (egress.nameServers) resolver.setServers(egress.nameServers);
  const cancel = () => resolver.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    signal.throwIfAborted();
    const addresses = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
    if (addresses.length > 0) return addresses;
    const failed = answers.find((answer) => answer.status === "rejected");
    throw new DeliveryFailure("unknown_host", { cause: failed?.reason });
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

async function openTcp(
  host: string,
  port: number,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<Socket> {
  const socket = connectTcp({
    host,
    port,
    autoSelectFamily: true,
    // Called for names only; gives what was checked, and asks nobody again.
    lookup: (_host, options, callback) => {
      const found = addresses.map((address) => ({ address, family: isIP(address) }));
      if (options.all) callback(null, found);
      else callback(null, found[0]!.address, found[0]!.family);
    },
  });
  // Between two owners nobody else listens, and an error without a listener ends the process.
  socket.on("error", () => {});
  try {
    await once(socket, "connect", { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw signal.aborted ? signal.reason : new DeliveryFailure("connect_failed", { cause: error });
  }
}

async function secured(socket: Socket, host: string, egress: Egress, signal: AbortSignal): Promise<Socket> {
  const tls = connectTls({
    socket,
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(egress.certificateAuthority === undefined ? {} : { ca: egress.certificateAuthority }),
    minVersion: "TLSv1.2",
    ALPNProtocols: ["http/1.1"],
  });
  tls.on("error", () => {});
  try {
    await once(tls, "secureConnect", { signal });
    return tls;
  } catch (error) {
    tls.destroy();
    socket.destroy();
    throw signal.aborted ? signal.reason : new DeliveryFailure("tls_failed", { cause: error });
  }
}
