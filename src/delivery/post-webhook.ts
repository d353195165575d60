import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { startDeadline } from "../deadline.js";
import { DeliveryFailure } from "./delivery-failure.js";
import type { Egress } from "./egress.js";
import { retryAfterMs } from "./retry-schedule.js";
import { connectSafely } from "./safe-connect.js";

/** Nobody needs the answer; so much of it is let in, so that its sender can end it in order. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Posts JSON to a webhook and resolves with the status if it is 2xx. Follows no redirect, knows no proxy, and keeps
 * nothing of the answer. Ends within `egress.totalMs`, whatever the other side does. Rejects with a `DeliveryFailure`,
 * or the signal's reason.
 */
export async function postWebhook(
  url: URL,
  message: { headers: Record<string, string>; body: string },
  egress: Egress,
  signal: AbortSignal,
): Promise<number> {
  using deadline = startDeadline(egress.totalMs, [signal]);
  let socket: Socket | undefined;
  try {
    socket = await connectSafely(url, egress, deadline.signal);
    const answer = await exchange(url, message, socket, deadline.signal);
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299)
      throw new DeliveryFailure(status >= 300 && status < 400 ? "redirected" : "http_status", {
        status,
        retryAfterMs: retryAfterMs(answer.headers["retry-after"], Date.now()),
      });
    return status;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (deadline.isLate()) throw new DeliveryFailure("timeout", { cause: error });
    throw error instanceof DeliveryFailure ? error : new DeliveryFailure("connection_lost", { cause: error });
  } finally {
    socket?.destroy();
  }
}

/** Resolves with the head of the answer, once its body has ended or is long enough. */
function exchange(
  url: URL,
  { headers, body }: { headers: Record<string, string>; body: string },
  socket: Socket,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      // The socket is TLS already where the URL says so. With a socket of its own a request has no agent.
      createConnection: () => socket,
      method: "POST",
      path: url.pathname + url.search,
      headers: {
        host: url.host,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "user-agent": "whatsapp-analytics-service",
        ...headers,
        connection: "close",
      },
      signal,
    });
    request.once("error", reject);
    request.once("response", (answer) => {
      // From here on the status has been said, however the answer ends.
      request.off("error", reject).on("error", () => {});
      let bytes = 0;
      answer.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) resolve(answer);
      });
      answer.once("close", () => resolve(answer));
      answer.on("error", () => {});
    });
    request.end(body);
  });
}
