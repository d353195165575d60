import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { errorCode } from "./embedded-error.js";
import { processIdentity } from "./process-identity.js";

/** Fast shutdown, then immediate shutdown (recovers from its log at the next start), then no shutdown at all. */
const STEPS = [
  ["SIGINT", 30_000],
  ["SIGQUIT", 10_000],
  ["SIGKILL", 5_000],
] as const;
const POLL_MS = 20;

/** Stops the server `pid`, politely at first. `gone` settles when it is. */
export async function stopServer(pid: number, gone: Promise<unknown>): Promise<void> {
  for (const [signal, patienceMs] of STEPS) {
    // A pid that is free again may be somebody else's by now.
    if (await Promise.race([gone.then(() => true), nextTurn(false)])) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (errorCode(error) === "ESRCH") return;
      throw error;
    }
    const patience = new AbortController();
    const waited = delay(patienceMs, false, { signal: patience.signal }).catch(() => false);
    const stopped = await Promise.race([gone.then(() => true), waited]);
    patience.abort();
    if (stopped) return;
  }
}

/** Settles when a process that is not our child is no more. */
export async function untilGone(pid: number): Promise<void> {
  const identity = await processIdentity(pid);
  while (identity !== undefined && (await processIdentity(pid)) === identity) await delay(POLL_MS);
}
