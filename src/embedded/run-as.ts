import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import type { ServerUser } from "./server-user.js";

/**
 * Runs one of PostgreSQL's programs on the data folder `cluster`, as `user`, apart from our own process group: a Ctrl-C
 * in the terminal must not stop the server under the processes that are still draining.
 */
export function runAs(
  user: ServerUser,
  program: string,
  cluster: string,
  args: string[],
  stdio: StdioOptions,
): ChildProcess {
  // A server that is not ours in rank may not be able to walk down to its own folder (a project under /root). The child
  // enters the folder before it gives up root, and /proc/self/cwd then leads there without a look at the parents.
  const folder = user.uid !== undefined && process.platform === "linux" ? "/proc/self/cwd" : cluster;
  return spawn(program, ["-D", folder, ...args], {
    ...user,
    cwd: cluster,
    detached: true,
    stdio,
    // Nothing of ours: PGDATA, PGPORT, LD_LIBRARY_PATH and the like would change what the programs do.
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" },
  });
}
