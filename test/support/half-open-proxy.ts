import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface HalfOpenProxy extends AsyncDisposable {
  port: number;
  /** Connections of clients that are still open. */
  open(): number;
  /** From the next connection on it is a plain proxy. */
  mend(): void;
}

/**
 * A TCP proxy on loopback that goes deaf and dumb once so many bytes have come from the client: the connection stays open,
 * and nothing moves in either direction any more.
 */
export async function startHalfOpenProxy(
  targetPort: number,
  { swallowAfter }: { swallowAfter: number },
): Promise<HalfOpenProxy> {
  const clients = new Set<Socket>();
  let limit = swallowAfter;
  const server = createServer((client) => {
    const allowed = limit;
    const target = connect(targetPort, "127.0.0.1");
    clients.add(client);
    let bytes = 0;
    client
      .on("error", () => {})
      .on("close", () => {
        clients.delete(client);
        target.destroy();
      });
    target
      .on("error", () => {})
      .on("close", () => {
        if (bytes < allowed) client.destroy();
      });
    client.on("data", (chunk) => {
      bytes += chunk.length;
      if (bytes <= allowed) target.write(chunk);
    });
    target.on("data", (chunk) => {
      if (allowed > 0 && bytes <= allowed) client.write(chunk);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    open: () => clients.size,
    mend() {
      limit = Number.POSITIVE_INFINITY;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
