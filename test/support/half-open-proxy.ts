import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface HalfOpenProxy extends AsyncDisposable {
  port: number;
  /** Connections of clients that are still open. */
  open(): number;
  /** From the next connection on it is a plain proxy. */
  mend(): void;
  /** Nothing passes on the connections that are open now, an end of either side neither; new ones work. Says how many. */
  halt(): number;
  /** What has waited on them since passes, and they work again. */
  resume(): void;
}

/**
 * A TCP proxy on loopback whose connections can go deaf and dumb, though they stay open: each once so many bytes have come
 * from the client, or all of them when it is told to halt.
 */
export async function startHalfOpenProxy(
  targetPort: number,
  { swallowAfter = Number.POSITIVE_INFINITY }: { swallowAfter?: number } = {},
): Promise<HalfOpenProxy> {
  const clients = new Map<Socket, Socket>();
  const halted = new Map<Socket, Socket>();
  let limit = swallowAfter;
  const server = createServer((client) => {
    const allowed = limit;
    const target = connect(targetPort, "127.0.0.1");
    clients.set(client, target);
    let bytes = 0;
    client
      .on("error", () => {})
      .on("close", () => {
        clients.delete(client);
        if (!halted.has(client)) target.destroy();
      });
    target
      .on("error", () => {})
      .on("close", () => {
        if (bytes < allowed && !halted.has(client)) client.destroy();
      });
    client.on("data", (chunk) => {
      bytes += chunk.length;
      if (bytes <= allowed && !target.write(chunk)) flow(target, client);
    });
    target.on("data", (chunk) => {
      if (allowed > 0 && bytes <= allowed && !client.write(chunk)) flow(client, target);
    });
  });
  /** As a network does: whoever sends faster than the other side reads has to wait. */
  const flow = (to: Socket, from: Socket) => {
    from.pause();
    to.once("drain", () => {
      if (!halted.has(from) && !halted.has(to)) from.resume();
    });
  };
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    open: () => clients.size,
    mend() {
      limit = Number.POSITIVE_INFINITY;
    },
    halt() {
      for (const [client, target] of clients) halted.set(client.pause(), target.pause());
      return halted.size;
    },
    resume() {
      for (const sockets of halted) for (const socket of sockets) socket.resume();
      halted.clear();
    },
    async [Symbol.asyncDispose]() {
      for (const sockets of [...clients, ...halted]) for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
