import type { IncomingMessage } from "node:http";
import { createGunzip } from "node:zlib";
import { InvalidInput, RequestTimeout } from "../../errors.js";
import { isGzip } from "../body.js";

const INFLATE_CHUNK_BYTES = 64 * 1024;

/**
 * Reads a body of any length, inflated, chunk by chunk. While the promise of a chunk is pending nothing is read.
 * Rejects with what `onChunk` throws, 400 for broken gzip or an early end, 408 when nothing comes for `idleMs`.
 */
export function readChunks(
  request: IncomingMessage,
  { idleMs }: { idleMs: number },
  onChunk: (chunk: Buffer) => Promise<void> | undefined,
): Promise<void> {
  const inflate = isGzip(request) ? createGunzip({ chunkSize: INFLATE_CHUNK_BYTES }) : undefined;
  const source = inflate ?? request;
  return new Promise((resolve, reject) => {
    let settled = false;
    let busy = false;
    const idle = setTimeout(() => {
      if (busy) idle.refresh();
      else settle(new RequestTimeout("idle_timeout", `Nothing was sent for ${idleMs} ms.`));
    }, idleMs);
    const settle = (error?: unknown) => {
      if (settled) return;
      settled = true;
      clearTimeout(idle);
      source.off("data", onData).off("end", onEnd);
      request.off("close", onClose);
      if (inflate) {
        request.unpipe(inflate);
        inflate.destroy();
      }
      if (error === undefined) return resolve();
      request.pause();
      reject(error);
    };
    const onData = (chunk: Buffer) => {
      idle.refresh();
      try {
        const wait = onChunk(chunk);
        if (wait === undefined) return;
        busy = true;
        source.pause();
        wait.then(() => {
          busy = false;
          idle.refresh();
          if (!settled) source.resume();
        }, settle);
      } catch (error) {
        settle(error);
      }
    };
    const onEnd = () => settle();
    const onClose = () => {
      if (!request.complete) settle(new InvalidInput("incomplete_body", "The body ended too early."));
    };
    // Stays for good: a connection that breaks later must not become an uncaught error.
    request.on("error", onClose);
    request.on("close", onClose);
    source.on("data", onData).on("end", onEnd);
    inflate?.on("error", () =>
      settle(
        new InvalidInput("invalid_encoding", "The body is not valid gzip; what came before it is kept."),
      ),
    );
    if (inflate) request.pipe(inflate);
    // A client may be gone before anybody listens: then there is no event any more.
    if (request.destroyed) onClose();
  });
}
