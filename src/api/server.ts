import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Context } from "../context.js";
import { createApp } from "./app.js";
import { limiterOf } from "./rate-limit/limiter.js";
import type { Route } from "./route.js";

const HEADERS_TIMEOUT_MS = 10_000;
const CONNECTIONS_CHECK_MS = 5_000;
const MAX_HEADER_BYTES = 16 * 1024;
/**
 * Connections that wait to be accepted; the kernel may allow fewer. With Node's 511, of a thousand clients that come at
 * once half try again after one, three and seven seconds.
 */
const BACKLOG = 4_096;
/** Of one process. What comes beyond is closed at once, before it costs memory. */
const MAX_CONNECTIONS = 10_000;
/** A sender or reader with whom nothing moves for so long has gone; slow ones that do move may stay for hours. */
const SILENCE_TIMEOUT_MS = 120_000;
/** What a request that met its time-out has left to be answered. */
const ANSWER_MS = 2_000;

/** While draining: how often connections that became idle are closed. */
const IDLE_CHECK_MS = 50;

export interface ApiServer {
  url: string;
  /**
   * Readiness turns to 503, no connection is accepted, streams are told to end, open requests finish within
   * `shutdownGraceMs`; what is left then is cut. Idempotent. Does not dispose the context.
   */
  drain(): Promise<void>;
}

/**
 * Listens on the configured host and port (0 = any free one). `onWornOut` is called once after `maxRequests`; only
 * tests are less patient with silence.
 */
export async function startServer(
  context: Context,
  routes: readonly Route[],
  options: { onWornOut?: () => void; silenceTimeoutMs?: number } = {},
): Promise<ApiServer> {
  const { http, shutdownGraceMs } = context.config;
  const draining = new AbortController();
  const app = createApp(context, routes, { draining: draining.signal });
  await limiterOf(context).connect();
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      // Uploads may stream for hours; ordinary requests have the time-out of their route, streams that of silence.
      requestTimeout: 0,
      keepAliveTimeout: http.keepAliveMs,
      connectionsCheckingInterval: CONNECTIONS_CHECK_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    app,
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.setTimeout(Math.max(options.silenceTimeoutMs ?? SILENCE_TIMEOUT_MS, http.timeoutMs + ANSWER_MS));
  server.on("clientError", answerClientError);
  if (http.maxRequests > 0) countRequests(server, http.maxRequests, options.onWornOut);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: http.port, host: http.host, backlog: BACKLOG }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const { address, family, port } = server.address() as AddressInfo;
  const host = address === "0.0.0.0" || address === "::" ? "127.0.0.1" : address;
  let drained: Promise<void> | undefined;
  return {
    url: `http://${family === "IPv6" && host === address ? `[${host}]` : host}:${port}`,
    drain() {
      drained ??= drainServer(server, draining, shutdownGraceMs);
      return drained;
    },
  };
}

function countRequests(server: Server, maxRequests: number, onWornOut: (() => void) | undefined): void {
  let served = 0;
  server.on("request", () => {
    served += 1;
    if (served === maxRequests) onWornOut?.();
  });
}

async function drainServer(server: Server, draining: AbortController, graceMs: number): Promise<void> {
  draining.abort(new Error("the process is draining"));
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const sweep = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
}

const CLIENT_ERRORS: Record<string, { status: number; title: string; code: string }> = {
  HPE_HEADER_OVERFLOW: { status: 431, title: "Request Header Fields Too Large", code: "headers_too_large" },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, title: "Payload Too Large", code: "body_too_large" },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, title: "Request Timeout", code: "request_timeout" },
};

/** What Node could not parse never reaches the application; it gets a problem document all the same. */
function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Socket & { _httpMessage?: ServerResponse },
): void {
  const pending = socket._httpMessage;
  // A second answer would be read as part of the first.
  if (!socket.writable || error.code === "ECONNRESET" || pending?.headersSent) {
    socket.destroy();
    return;
  }
  // The request before it has arrived whole, and gets its own answer.
  if (pending?.req.complete) {
    pending.setHeader("connection", "close");
    return;
  }
  const { status, title, code } = CLIENT_ERRORS[error.code ?? ""] ?? {
    status: 400,
    title: "Bad Request",
    code: "bad_request",
  };
  const detail = "The request cannot be read.";
  const type = `urn:whatsapp-analytics:error:${code}`;
  const body = JSON.stringify({ type, title, status, code, detail });
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nconnection: close\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
