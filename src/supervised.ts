/** Tells the supervisor, if there is one, that this process does its work now. */
export function announceReady(info: { url?: string } = {}): void {
  process.send?.({ type: "ready", ...info });
}

/** Calls back once when the supervisor is gone: a child must not outlive it. */
export function onParentGone(callback: () => void): void {
  process.once("disconnect", callback);
}
