import type { FoldVersion } from "../../db/queries/fold-versions.js";

/** Lookups at a time: one that hangs must not hold up everybody else. */
export const MAX_LOOKUPS = 2;

type Find = (accountIds: readonly string[]) => Promise<Map<string, FoldVersion>>;

interface Waiting {
  resolve(version: FoldVersion | undefined): void;
  reject(error: unknown): void;
}

/**
 * Reads versions for all requests of a process together. Who asks while lookups are under way waits for the next one:
 * a version is never older than the question, so an answer that goes by it is never older than the last fold that had
 * been committed before.
 */
export function createVersionReader(find: Find): (accountId: string) => Promise<FoldVersion | undefined> {
  let waiting = new Map<string, Waiting[]>();
  let running = 0;
  const lookUp = async () => {
    const asked = waiting;
    waiting = new Map();
    running++;
    try {
      const found = await find([...asked.keys()]);
      for (const [accountId, all] of asked) for (const one of all) one.resolve(found.get(accountId));
    } catch (error) {
      for (const all of asked.values()) for (const one of all) one.reject(error);
    } finally {
      running--;
      start();
    }
  };
  const start = () => {
    if (waiting.size > 0 && running < MAX_LOOKUPS) void lookUp();
  };
  return (accountId) =>
    new Promise((resolve, reject) => {
      const all = waiting.get(accountId);
      if (all) all.push({ resolve, reject });
      else waiting.set(accountId, [{ resolve, reject }]);
      start();
    });
}
