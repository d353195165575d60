import type { IncomingMessage, ServerResponse } from "node:http";

/** A rest this small is read and thrown away, so that the connection stays usable. */
const DRAINABLE_BYTES = 64 * 1024;

/** How long a client may go on sending before it is cut off. */
const LINGER_MS = 2_000;

/** Whether the client is still sending a body that is not worth reading to its end. */
export function hasUnreadBody(request: IncomingMessage): boolean {
  if (request.complete) return false;
  if (request.headers["transfer-encoding"] !== undefined) return true;
  return Number(request.headers["content-length"] ?? 0) > DRAINABLE_BYTES;
}

/**
 * Ends the connection with this answer. Closing a socket that still receives makes the kernel send a reset, which can
 * overtake the answer: so the write side ends, and what arrives is thrown away for a moment.
 */
export function closeAfterAnswer(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request;
  response.setHeader("connection", "close");
  socket.destroySoon = () => {
    socket.end();
    request.resume();
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once("close", () => clearTimeout(timer));
  };
}
