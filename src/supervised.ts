import cluster from "node:cluster";

/**
 * What closing may take after the grace of a process: jobs are handed back, connections closed. Then it exits by force, and
 * its supervisor does not kill it before that.
 */
export const CLOSING_MS = 10_000;

/** How long a parent may take to answer. */
const ANSWER_MS = 1_000;

/** What a supervised process tells its parent. */
export type SupervisedMessage =
  | { type: "ready"; url?: string; apiKey?: string; pid?: number }
  | { type: "retiring" }
  | { type: "closed" };

/** Tells the parent that this process is up and serving. Does nothing when nobody supervises it. */
export function announceReady(info: { url?: string; apiKey?: string; pid?: number } = {}): void {
  tell({ type: "ready", ...info });
}

/**
 * Asks for a successor, when this process has served its number of requests. Keep on serving: once the successor is
 * ready, SIGTERM comes. Returns false when nobody supervises this process.
 */
export function announceRetiring(): boolean {
  return tell({ type: "retiring" });
}

/**
 * For a process that has closed its server: resolves when it has seen every connection that a parent which shares one port
 * among its children had on the way to it. What it has seen goes on to the others; what it leaves unseen would hang
 * for ever. A parent that is not ours says nothing; it is waited for a second.
 */
export async function seenAllConnections(): Promise<void> {
  if (!cluster.isWorker || !tell({ type: "closed" })) return;
  process.channel?.ref();
  await new Promise<void>((resolve) => {
    process.on("message", (answer: SupervisedMessage) => answer?.type === "closed" && resolve());
    process.once("disconnect", resolve);
    setTimeout(resolve, ANSWER_MS);
  });
}

/**
 * Calls back, once, when the parent has died without saying goodbye: drain and exit then. Never called for a process that
 * nobody supervises, and does not keep the process alive.
 */
export function onParentGone(callback: () => void): void {
  if (process.send === undefined) return;
  const { worker } = cluster;
  if (worker) {
    worker.once("disconnect", () => {
      // Otherwise node:cluster ends the process right after this event, in the middle of its requests.
      worker.exitedAfterDisconnect = true;
      callback();
    });
  } else {
    process.once("disconnect", callback);
  }
  // It would hold the event loop open after everything else has been closed.
  process.channel?.unref();
  if (!process.connected) queueMicrotask(callback);
}

function tell(message: SupervisedMessage): boolean {
  if (process.send === undefined || !process.connected) return false;
  // The parent may die between the check and the write; then there is nobody to tell.
  process.send(message, undefined, undefined, () => {});
  return true;
}
