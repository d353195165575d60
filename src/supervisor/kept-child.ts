import { type ChildProcess, fork } from "node:child_process";
import cluster from "node:cluster";
import type { Log } from "../log.js";
import type { SupervisedMessage } from "../supervised.js";
import { StartError } from "./start-error.js";

export interface ChildSpec {
  /** For the log: `worker 2`. */
  name: string;
  /** The program, a JavaScript file. */
  file: string;
  env: NodeJS.ProcessEnv;
  /** Options of Node.js for it, on top of our own. */
  nodeOptions?: readonly string[];
  /** Accepts connections on one port together with the others of its kind. */
  sharesPort?: boolean;
}

export interface RestartPolicy {
  firstDelayMs: number;
  maxDelayMs: number;
  /** A child that has lived this long starts with the first delay again. */
  steadyAfterMs: number;
  /** Ends of a child that was never ready, before the whole start is called off. */
  startAttempts: number;
}

/** One run of the program. */
interface Life {
  process: ChildProcess;
  startedAt: number;
  up: boolean;
  /** Serves until this one is up. */
  predecessor: ChildProcess | undefined;
}

/** Starts a child and replaces it whenever it ends without having been told to. */
export class KeptChild {
  /** Settles when the child is up for the first time; rejects with `StartError` when it never gets there. */
  readonly ready: Promise<void>;
  readonly #spec: ChildSpec;
  readonly #policy: RestartPolicy;
  readonly #log: Log;
  /** The current process, and predecessors that still drain. */
  readonly #living = new Set<ChildProcess>();
  #current: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #everUp = false;
  #failures = 0;
  #stopping = false;
  #settleReady!: () => void;
  #callOff!: (error: Error) => void;
  #onAllGone: (() => void) | undefined;

  constructor(spec: ChildSpec, policy: RestartPolicy, log: Log) {
    this.#spec = spec;
    this.#policy = policy;
    this.#log = log;
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = resolve;
      this.#callOff = reject;
    });
    this.#start();
  }

  /** Asks it to drain, kills it after `graceMs`, and waits for its end. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    if (this.#living.size === 0) return;
    const allGone = new Promise<void>((resolve) => {
      this.#onAllGone = resolve;
    });
    for (const child of this.#living) child.kill("SIGTERM");
    const impatience = setTimeout(() => {
      this.#log.warn("child did not drain in time and is killed", { child: this.#spec.name, graceMs });
      this.kill();
    }, graceMs);
    await allGone;
    clearTimeout(impatience);
  }

  kill(): void {
    for (const child of this.#living) child.kill("SIGKILL");
  }

  #start(predecessor?: ChildProcess): void {
    const child = spawnChild(this.#spec);
    const life: Life = { process: child, startedAt: Date.now(), up: false, predecessor };
    this.#current = child;
    this.#living.add(child);
    this.#log.debug("child started", { child: this.#spec.name, childPid: child.pid });
    child.on("message", (message) => this.#hear(life, message as SupervisedMessage));
    whenEnded(child, (code, how) => this.#bury(life, code, how));
  }

  #hear(life: Life, message: SupervisedMessage): void {
    if (message?.type === "ready") {
      life.up = true;
      this.#everUp = true;
      this.#settleReady();
      life.predecessor?.kill("SIGTERM");
    } else if (message?.type === "retiring" && this.#current === life.process && !this.#stopping) {
      this.#start(life.process);
    } else if (message?.type === "closed") {
      // Messages keep their order: it comes after whatever connection is on the way.
      life.process.send(message, () => {});
    }
  }

  #bury(life: Life, code: number | null, how: string): void {
    this.#living.delete(life.process);
    if (this.#living.size === 0) this.#onAllGone?.();
    // A predecessor has ended as it should.
    if (this.#stopping || this.#current !== life.process) return;
    const { firstDelayMs, maxDelayMs, steadyAfterMs, startAttempts } = this.#policy;
    if (Date.now() - life.startedAt >= steadyAfterMs) this.#failures = 0;
    // It has served its number of requests.
    const planned = code === 0 && life.up && this.#spec.sharesPort === true;
    const delayMs = planned ? 0 : Math.min(maxDelayMs, firstDelayMs * 2 ** this.#failures++);
    const { name } = this.#spec;
    if (!this.#everUp && this.#failures >= startAttempts) {
      this.#callOff(new StartError(`${name} ended ${this.#failures} times before it was ready (${how})`));
      return;
    }
    this.#log[planned ? "info" : "warn"]("child ended", { child: name, how, restartInMs: delayMs });
    this.#restart = setTimeout(() => this.#start(life.predecessor), delayMs);
  }
}

function spawnChild({ file, env, nodeOptions = [], sharesPort }: ChildSpec): ChildProcess {
  const execArgv = [...process.execArgv, ...nodeOptions];
  if (!sharesPort) return fork(file, { env, execArgv, stdio: "inherit" });
  cluster.setupPrimary({ exec: file, args: [], execArgv, silent: false });
  return cluster.fork(env).process;
}

/** Calls back once, whether the child has ended or could not even be started. */
function whenEnded(child: ChildProcess, callback: (code: number | null, how: string) => void): void {
  child.once("exit", (code, signal) => callback(code, signal ?? `code ${code}`));
  child.on("error", (error) => {
    // Any other error is about a signal or a message to a child that is ending anyway.
    if (child.pid === undefined) callback(null, error.message);
  });
}
