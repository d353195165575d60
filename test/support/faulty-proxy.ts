import { once } from "node:events";
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { Transform } from "node:stream";
import { buffer } from "node:stream/consumers";

/** What becomes of one request. */
export type Fault =
  | "pass"
  /** Answered by the proxy; the server never hears of it. */
  | { status: number; code: string }
  /** Taken and never answered. */
  | "hang"
  /** Carried out, but the answer is lost. */
  | "lose-answer"
  /** Carried out, but the answer has another ETag. */
  | "other-etag"
  /** The server gets so many bytes of the body, then its connection ends, and the client's too. */
  | { cutAfter: number };

export interface FaultyProxy {
  url: string;
  /** Asked about every request, in order. */
  decide: (request: IncomingMessage) => Fault;
  /** Method and query of every request so far: `PUT partNumber=1&uploadId=…`. */
  seen: string[];
  stop(): Promise<void>;
}

/** An HTTP proxy in front of a server, which does to a request whatever `decide` says. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const { hostname, port } = new URL(target);
  const proxy: FaultyProxy = { url: "", decide: () => "pass", seen: [], stop: async () => {} };

  function pass(request: IncomingMessage, response: ServerResponse, fault: Fault): void {
    const { method, url: path, headers } = request;
    const onward = forward({ hostname, port, method, path, headers, agent: false }, (answer) => {
      if (fault === "lose-answer") {
        answer.resume();
        answer.once("end", () => response.destroy());
        return;
      }
      if (fault === "other-etag") {
        void buffer(answer).then((body) => {
          const etag = "0".repeat(32);
          response.writeHead(answer.statusCode!, { ...answer.headers, etag: `"${etag}"` });
          // That of a whole upload stands in the body.
          response.end(String(body).replace(/[0-9a-f]{32}(?=-\d)/, etag));
        });
        return;
      }
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    if (typeof fault === "object" && "cutAfter" in fault) {
      let left = fault.cutAfter;
      const cut = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          this.push(chunk.subarray(0, left));
          left -= chunk.length;
          if (left <= 0) {
            onward.destroy();
            response.destroy();
          }
          done();
        },
      });
      request.pipe(cut).pipe(onward);
    } else request.pipe(onward);
  }

  const server = createServer((request, response) => {
    proxy.seen.push(`${request.method} ${request.url!.split("?")[1] ?? ""}`);
    const fault = proxy.decide(request);
    if (fault === "hang") return;
    if (typeof fault === "object" && "status" in fault) {
      request.resume();
      response.writeHead(fault.status, { "content-type": "application/xml" });
      response.end(`<Error><Code>${fault.code}</Code><Message>from the proxy</Message></Error>`);
      return;
    }
    pass(request, response, fault);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  proxy.stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return proxy;
}

export interface BlackHole {
  url: string;
  /** Bytes in both directions after which a connection passes on nothing more, though it stays open. */
  limit: number;
  stop(): Promise<void>;
}

/** A TCP proxy whose connections go dead without an end, as behind a firewall that forgets them. */
export async function startBlackHole(target: string): Promise<BlackHole> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const hole: BlackHole = {
    url: "",
    limit: Number.POSITIVE_INFINITY,
    stop: async () => {},
  };
  const server = createTcpServer((client) => {
    const upstream = connect(Number(port), hostname);
    let passed = 0;
    sockets.add(client);
    client.once("close", () => {
      sockets.delete(client);
      upstream.destroy();
    });
    for (const [from, to] of [[client, upstream] as const, [upstream, client] as const]) {
      from.on("error", () => {});
      from.on("data", (chunk: Buffer) => {
        passed += chunk.length;
        if (passed <= hole.limit) to.write(chunk);
      });
    }
    upstream.once("close", () => {
      if (passed <= hole.limit) client.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  hole.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  hole.stop = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return hole;
}
