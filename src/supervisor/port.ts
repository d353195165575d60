import { once } from "node:events";
import { createServer } from "node:net";
import { StartError } from "./start-error.js";

/** The port that all API processes will share: `port`, or a free one for 0. Throws `StartError` when it cannot be had. */
export async function choosePort(host: string, port: number): Promise<number> {
  const probe = createServer();
  try {
    probe.listen({ host, port });
    await once(probe, "listening");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === "EADDRINUSE" ? "another program listens there" : (error as Error).message;
    throw new StartError(`Port ${port} on ${host} cannot be used: ${reason}. Set PORT to another one.`);
  }
  const { port: chosen } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return chosen;
}

/** How a program on this machine reaches a server that listens on `host`. */
export function localUrl(host: string, port: number): string {
  const everywhere = host === "0.0.0.0" || host === "::";
  const name = everywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  return `http://${name}:${port}`;
}
