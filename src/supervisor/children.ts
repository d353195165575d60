import type { Log } from "../log.js";
import { type ChildSpec, KeptChild, type RestartPolicy } from "./kept-child.js";
import { StartError } from "./start-error.js";

export type Children = Pick<KeptChild, "ready" | "stop" | "kill">;

export const defaultPolicy: RestartPolicy = {
  firstDelayMs: 250,
  maxDelayMs: 10_000,
  steadyAfterMs: 30_000,
  startAttempts: 3,
};

const READY_TIMEOUT_MS = 60_000;

/** Starts all children at once and keeps them alive. `ready` settles when each has been up once. */
export function superviseChildren(specs: ChildSpec[], log: Log, policy = defaultPolicy): Children {
  const children = specs.map((spec) => new KeptChild(spec, policy, log));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new StartError(`Not every process was ready within ${READY_TIMEOUT_MS / 1000} s`)),
      READY_TIMEOUT_MS,
    );
  });
  const allReady = Promise.all(children.map(({ ready }) => ready));
  return {
    ready: Promise.race([allReady, late])
      .then(() => {})
      .finally(() => clearTimeout(timer)),
    stop: async (graceMs) => {
      clearTimeout(timer);
      await Promise.all(children.map((child) => child.stop(graceMs)));
    },
    kill: () => {
      for (const child of children) child.kill();
    },
  };
}
