import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

export interface Received {
  path: string;
  headers: Record<string, string>;
  body: string;
  /** `body` as JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into payloads of every shape
  json: any;
}

export interface Receiver extends AsyncDisposable {
  url: string;
  port: number;
  received: Received[];
  /** How it answers from now on; 204 unless told otherwise. */
  answer(how: Answer): void;
}

type Answer = (response: ServerResponse, received: Received) => void | Promise<void>;

/** A webhook receiver on loopback. */
export async function startReceiver(host = "127.0.0.1"): Promise<Receiver> {
  const received: Received[] = [];
  let how: Answer = (response) => void response.writeHead(204).end();
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const body = await text(request);
    const one: Received = {
      path: request.url!,
      headers: request.headers as Record<string, string>,
      body,
      json: JSON.parse(body),
    };
    received.push(one);
    await how(response, one);
  });
  await once(server.listen(0, host), "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${port}/hook`,
    port,
    received,
    answer(next) {
      how = next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Throws unless an independent implementation of Standard Webhooks takes the request for genuine. */
export const verifySignature = (secret: string, { headers, body }: Received): unknown =>
  new Webhook(secret).verify(body, headers);

export interface Canary extends AsyncDisposable {
  port: number;
  connections: Socket[];
  bytes(): number;
}

/** Accepts connections, says nothing, and counts what it is sent. */
export async function startCanary(host = "127.0.0.1"): Promise<Canary> {
  const connections: Socket[] = [];
  let bytes = 0;
  const server = createTcpServer((socket) => {
    connections.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      bytes += chunk.length;
    });
  });
  await once(server.listen(0, host), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    bytes: () => bytes,
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
