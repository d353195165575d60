import type { Redis } from "ioredis";

/**
 * To be called before a command: what the requests of one turn of the event loop say to Redis leaves in one write. One
 * for each of them was an eighth of what a cached answer costs.
 */
export function writeTogether(redis: Redis): () => void {
  let isCorked = false;
  return () => {
    const { stream } = redis;
    if (isCorked || !stream) return;
    isCorked = true;
    stream.cork();
    setImmediate(() => {
      isCorked = false;
      stream.uncork();
    });
  };
}
